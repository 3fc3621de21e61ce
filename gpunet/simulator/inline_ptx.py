"""Translate inline PTX into C++ by a table of instructions; refuse others by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gpunet.simulator.unsupported import Refusal

HAS_PTX = re.compile(r"\b(?:asm|__asm__|__asm)\b(?:\s*(?:volatile|__volatile__)\b)*\s*\(")
ELSEWHERE = "put it behind #ifndef GPUNET_SIMULATOR, with CUDA C++ for the simulator"
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
_STATEMENT = re.compile(r"(?:@(?P<unless>!?)(?P<predicate>\S+)\s+)?(?P<opcode>[\w.:]+)\s*(?P<operands>.*)", re.DOTALL)
_MODIFIERS = re.compile(r"\.L[12]::\w+|\.shared::cta(?![\w:])|\.(?:ftz|nc|weak|volatile|relaxed|gpu|sys)(?!\w)")
_TYPES = ["pred", "b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64", "f32", "f64"]
_SPECIAL = {
    "%laneid": "simulator::lane()",
    "%warpid": "(simulator::linear_thread() / 32)",
    "%lanemask_lt": "((1u << simulator::lane()) - 1)",
    "%lanemask_le": "(~0u >> (31 - simulator::lane()))",
    "%lanemask_gt": "(~1u << simulator::lane())",
    "%lanemask_ge": "(~0u << simulator::lane())",
    "%lanemask_eq": "(1u << simulator::lane())",
    "%clock": "clock()",
    "%clock64": "clock64()",
    "%globaltimer": "clock64()",
    "%smid": "0u",
} | {f"%{ptx}.{axis}": f"{cuda}.{axis}" for axis in "xyz" for ptx, cuda in
     {"tid": "threadIdx", "ntid": "blockDim", "ctaid": "blockIdx", "nctaid": "gridDim"}.items()}  # fmt: skip
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "mul.lo": "*", "and": "&", "or": "|", "xor": "^", "shl": "<<",
              "shr": ">>", "add.rn": "+", "sub.rn": "-", "mul.rn": "*", "div.rn": "/"}  # fmt: skip
_ELEMENTS = {"f16": "F16", "bf16": "Bf16", "tf32": "Tf32", "s8": "Bytes<signed char>", "u8": "Bytes<unsigned char>"}
_HERE = "simulator::Where::current()"

# The C++ of each instruction: {0}, {1}, ... are its operands, {T} is the C++ name of its type.
_RULES = {
    r"(?:mov|cvta(?:\.to)?\.global)\.T": "simulator::move({0}, {1})",
    r"cvta\.to\.shared\.T": "{0} = simulator::shared_address(reinterpret_cast<const void*>({1}))",
    r"cvt\.T\.[us](?:32|64)": "{0} = static_cast<{T}>({1})",
    r"cvt\.rna\.tf32\.f32": "{0} = simulator::float_to_tf32({1})",
    r"cvt\.rn\.tf32\.f32": "{0} = simulator::float_to_even_tf32({1})",
    r"cvt\.rn\.f16x2\.f32": "{0} = simulator::pair_of<__half>({1}, {2})",
    r"cvt\.rn\.bf16x2\.f32": "{0} = simulator::pair_of<__nv_bfloat16>({1}, {2})",
    r"selp\.T": "{0} = {3} ? {1} : {2}",
    r"mad\.lo\.T": "{0} = {T}({1}) * {T}({2}) + {T}({3})",
    r"fma\.rn\.f(?:32|64)": "{0} = fma({1}, {2}, {3})",
    r"max\.T": "{0} = max({T}({1}), {T}({2}))",
    r"min\.T": "{0} = min({T}({1}), {T}({2}))",
    r"ex2\.approx\.f32": "{0} = exp2f({1})",
    r"lg2\.approx\.f32": "{0} = log2f({1})",
    r"rcp\.(?:approx|rn)\.f32": "{0} = 1.0f / ({1})",
    r"rsqrt\.approx\.f32": "{0} = rsqrtf({1})",
    r"sqrt\.(?:approx|rn)\.f32": "{0} = sqrtf({1})",
    r"tanh\.approx\.f32": "{0} = tanhf({1})",
    r"sin\.approx\.f32": "{0} = sinf({1})",
    r"cos\.approx\.f32": "{0} = cosf({1})",
    r"prmt\.b32": "{0} = __byte_perm({1}, {2}, {3})",
    r"neg\.T": "{0} = -{T}({1})",
    r"lop3\.b32": "{0} = simulator::lop3({1}, {2}, {3}, {4})",
    r"popc\.b32": "{0} = __popc({1})",
    r"brev\.b32": "{0} = __brev({1})",
    r"clz\.b32": "{0} = __clz({1})",
    r"bfe\.u32": "{0} = unsigned({1}) >> {2} & ((1u << {3}) - 1)",
    r"dp4a\.u32\.u32": "{0} = __dp4a(unsigned({1}), unsigned({2}), unsigned({3}))",
    r"dp4a\.s32\.s32": "{0} = __dp4a(int({1}), int({2}), int({3}))",
    r"red(?:\.global)?\.add\.T": "atomicAdd(reinterpret_cast<{T}*>({0}), {1})",
    r"atom(?:\.global)?\.add\.T": "{0} = atomicAdd(reinterpret_cast<{T}*>({1}), {2})",
    r"(?:membar|fence)(?:\.(?:gl|sc|acq_rel))?": "__threadfence()",
    r"(?:membar|fence)(?:\.(?:sc|acq_rel))?\.cta": "__threadfence_block()",
    r"bar\.warp\.sync": "__syncwarp({0})",
    r"nanosleep\.u32": "__nanosleep({0})",
    r"trap": "__trap()",
    r"cp\.async\.commit_group": "simulator::commit_copies()",
    r"cp\.async\.wait_group": "simulator::wait_copies({0})",
    r"cp\.async\.wait_all": "(simulator::commit_copies(), simulator::wait_copies(0))",
}
_RULES = {pattern.replace(r"\.T", rf"\.(?P<T>{'|'.join(_TYPES)})"): template for pattern, template in _RULES.items()}


def translate_ptx(text: str) -> str:
    """Translate the inline PTX of preprocessed CUDA into C++ without changing line numbers.

    An instruction that is not in the table raises `Refusal`.
    """
    begin, parts = 0, []
    for match in HAS_PTX.finditer(text):
        if match.start() < begin:
            continue
        end = _closing(text, match.end())
        try:
            block = " ".join(_block(text[match.end() : end]))
        except _UnknownError as unknown:
            raise Refusal(match.start(), f"PTX {unknown} is not simulated; {ELSEWHERE}") from None
        lines = "\n" * text.count("\n", match.start(), end)
        parts += [text[begin : match.start()], f"do {{ {block} }} while (false){lines}"]
        begin = end + 1
    return "".join(parts) + text[begin:]


class _UnknownError(Exception):
    """An instruction or operand without a translation."""


def _closing(text: str, begin: int) -> int:
    """Return the position of the parenthesis that closes the one before `begin`."""
    depth = 1
    for token in re.compile(rf"{_STRING.pattern}|[()]").finditer(text, begin):
        depth += (token[0] == "(") - (token[0] == ")")
        if depth == 0:
            return token.start()
    return len(text)


def _block(body: str) -> Iterator[str]:
    """Yield the C++ statements for the contents of the parentheses of `asm`."""
    sections = _sections(body)
    code = "".join(_STRING.findall(sections[0]))
    code = re.sub(r"//.*?(?:\\n|$)|/\*.*?\*/", " ", code).replace(r"\n", " ").replace(r"\t", " ").replace(r"\r", " ")
    values = [f"({operand})" for section in sections[1:3] for operand in _operands(section)]
    for statement in code.split(";"):
        rest = statement.strip()
        while rest[:1] in ("{", "}"):
            yield rest[0]
            rest = rest[1:].strip()
        if rest:
            yield _statement(rest, values)


def _sections(body: str) -> list[str]:
    """Split at colons outside brackets and strings."""
    parts, depth = [""], 0
    for token in re.finditer(rf"{_STRING.pattern}|[\s\S]", body):
        depth += (token[0] in "([{") - (token[0] in ")]}")
        if token[0] == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += token[0]
    return parts


def _operands(section: str) -> Iterator[str]:
    """Yield the expressions of a section such as `"=r"(a), "f"(b[0])`."""
    for constraint in _STRING.finditer(section):
        opening = section.find("(", constraint.end())
        yield section[opening + 1 : _closing(section, opening + 1)].strip()


def _statement(text: str, values: Sequence[str]) -> str:
    if match := re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", text, re.DOTALL):
        return f"{_name(match[1])} {', '.join(_register(name.strip()) for name in match[2].split(','))};"
    match = _STATEMENT.fullmatch(text)
    if match is None:
        raise _UnknownError(text)
    operands = [_operand(o, values) for o in re.findall(r"\[[^\]]*\]|[^\s,{}|]+", match["operands"])]
    call = _instruction(_MODIFIERS.sub(lambda m: ".shared" if "shared" in m[0] else "", match["opcode"]), operands)
    if match["predicate"] is None:
        return f"{call};"
    return f"if ({match['unless']}({_operand(match['predicate'], values)})) {{ {call}; }}"


def _register(name: str) -> str:
    return f"ptx_{name.lstrip('%')}"


def _operand(text: str, values: Sequence[str]) -> str:
    if text.startswith("["):
        place, plus, offset = text[1:-1].partition("+")
        address = f"(size_t({_operand(place.strip(), values)}))"
        return f"({address} + {offset})" if plus else address
    if match := re.fullmatch(r"%(\d+)", text):
        return values[int(match[1])]
    if text.startswith("%%"):
        if text[1:] not in _SPECIAL:
            raise _UnknownError(f"register {text[1:]}")
        return _SPECIAL[text[1:]]
    if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
        return f"__uint_as_float(0x{match[1]}u)"
    return text if re.match(r"-?\d", text) else _register(text)


def _instruction(opcode: str, o: list[str]) -> str:
    """Return the C++ of an instruction with operands `o`."""
    if re.fullmatch(r"(?:bar|barrier)\.sync(?:\.aligned)?", opcode) and o == ["0"]:
        return "__syncthreads()"
    for pattern, template in _RULES.items():
        match = re.fullmatch(pattern, opcode)
        if match and len(o) == len(set(re.findall(r"\{\d\}", template))):
            return template.format(*o, T=_name(match["T"]) if "T" in match.groupdict() else "")
    match = re.fullmatch(r"(?:setp\.)?([a-z.]+)\.(\w+)", opcode)
    operators = _COMPARISONS if opcode.startswith("setp.") else _OPERATORS
    if match and match[1] in operators and len(o) == 3:
        kind = _name(match[2])
        return f"{o[0]} = {kind}({o[1]}) {operators[match[1]]} {kind}({o[2]})"
    if match := re.fullmatch(r"(ld|st)(\.global|\.shared)?(?:\.(?:c[agsv]|wb|wt|lu))?(?:\.v[24])?\.(\w+)", opcode):
        name, address = ("load", o.pop()) if match[1] == "ld" else ("store", o.pop(0))
        return f"simulator::{name}<{_name(match[3])}>({_pointer(address, match[2])}, {', '.join(o)})"
    if match := re.fullmatch(r"cp\.async\.c[ag]\.shared\.global", opcode):
        source = f"reinterpret_cast<const void*>({o[1]})"
        return f"simulator::copy_or_zero_fill<{o[2]}>({o[0]}, {source}, {o[-1]}, {_HERE})"
    if re.fullmatch(r"ldmatrix\.sync\.aligned(?:\.m8n8|\.x[124]|\.trans)+\.shared\.b16", opcode):
        transposed = "true" if ".trans" in opcode else "false"
        return f"simulator::load_matrices<{transposed}>({o[-1]}, {_HERE}, {', '.join(o[:-1])})"
    if match := re.fullmatch(r"mma\.sync\.aligned\.m16n8k(\d+)\.row\.col\.(f32|s32|f16)\.(\w+)\.\3\.\2", opcode):
        results = 2 if match[2] == "f16" else 4
        if match[3] in _ELEMENTS:
            given = ", ".join([*o[:results], _HERE, *o[results:]])
            return f"simulator::mma<simulator::{_ELEMENTS[match[3]]}, {match[1]}>({given})"
    raise _UnknownError(opcode)


def _name(ptx: str) -> str:
    """Return the C++ name of a PTX type."""
    if ptx not in _TYPES:
        raise _UnknownError(f"type {ptx}")
    return f"simulator::{ptx}"


def _pointer(address: str, space: str | None) -> str:
    return f"simulator::shared_pointer({address})" if space == ".shared" else f"reinterpret_cast<void*>({address})"
