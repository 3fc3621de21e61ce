"""Acceptance test of embeddings: words with the same usage get similar vectors, seeds 0 to 4.

    python benchmarks/word_vectors.py

A small grammar generates sentences; two words of a group, such as "cat" and "dog", never occur in the same sentence. A
skip-gram model (Mikolov et al. 2013, with the full softmax) learns to predict the words within two positions of a word.
For each word, the five nearest neighbours by cosine similarity among all words should be the five others of its group.
At least 0.98 of them must be for each seed, and all seeds together may take 60 seconds on two CPU cores. Prints a table
and some neighbours; exits with 1 if a condition fails.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import gpunet as gn

GROUPS = {
    "animal": "cat dog horse cow goat sheep",
    "city": "paris rome berlin madrid london vienna",
    "clothes": "shirt coat hat scarf shoe glove",
    "colour": "red blue green yellow white black",
    "drink": "water milk tea coffee juice lemonade",
    "food": "bread cheese rice soup cake salad",
    "person": "anna ben clara david emma felix",
    "vehicle": "car bus train boat bike plane",
}
TEMPLATES = """
    the animal follows person through city
    person feeds the colour animal
    the animal sleeps on the clothes
    person eats food and drinks drink
    person buys food for the animal
    a glass of drink costs little in city
    person goes to city by vehicle
    the colour vehicle stops in city
    person wears a colour clothes
    person forgot the clothes in the vehicle
    there is drink beside the food
""".strip().splitlines()

SEEDS = range(5)
SENTENCES, WINDOW, DIMENSIONS, EPOCHS = 5000, 2, 16, 10
NEIGHBOURS, MIN_SHARE, MAX_SECONDS = 5, 0.98, 60.0

GROUP_OF = {word: group for group, words in GROUPS.items() for word in words.split()}


def corpus(rng: np.random.Generator) -> list[list[str]]:
    """Return sentences: templates with each group's name replaced by a random word of the group."""
    sentences = []
    for template in rng.choice(TEMPLATES, SENTENCES):
        words = [rng.choice(GROUPS[word].split()) if word in GROUPS else word for word in template.split()]
        sentences.append([str(word) for word in words])
    return sentences


def skip_grams(sentences: list[list[str]], index: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of a word and another word within its window, as two arrays of indices."""
    pairs = [
        (index[word], index[sentence[other]])
        for sentence in sentences
        for place, word in enumerate(sentence)
        for other in range(max(0, place - WINDOW), min(len(sentence), place + WINDOW + 1))
        if other != place
    ]
    words, contexts = np.array(pairs).T
    return words, contexts


def train(seed: int) -> tuple[list[str], np.ndarray]:
    """Train a skip-gram model; return the vocabulary and its vectors."""
    sentences = corpus(np.random.default_rng(seed))
    vocabulary = sorted({word for sentence in sentences for word in sentence})
    words, contexts = skip_grams(sentences, {word: i for i, word in enumerate(vocabulary)})
    size = len(vocabulary)
    model = gn.Sequential(gn.Embedding(size, DIMENSIONS, rng=seed), gn.Linear(DIMENSIONS, size, bias=False, rng=seed))
    trainer = gn.Trainer(model, optimizer=gn.Adam(0.01), seed=seed)
    trainer.fit(words, contexts, epochs=EPOCHS, batch_size=256)
    return vocabulary, gn.to_host(model.parameters()["0.weight"])


def main() -> int:
    shares, began = [], time.perf_counter()
    print("seed  neighbours of the same group")
    for seed in SEEDS:
        vocabulary, vectors = train(seed)
        nearest = {
            word: [vocabulary[i] for i in gn.ops.most_similar(vectors, vocabulary.index(word), NEIGHBOURS)[0]]
            for word in GROUP_OF
        }
        right = [GROUP_OF.get(near) == GROUP_OF[word] for word, others in nearest.items() for near in others]
        shares.append(float(np.mean(right)))
        print(f"{seed:4}  {shares[-1]:.3f}", flush=True)
    for word in ("cat", "paris", "tea"):
        print(f"nearest to {word}: {', '.join(nearest[word])}")
    seconds = time.perf_counter() - began
    good = min(shares) >= MIN_SHARE and seconds <= MAX_SECONDS
    print(f"minimum {min(shares):.3f}, {seconds:.1f} s: {'ok' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
