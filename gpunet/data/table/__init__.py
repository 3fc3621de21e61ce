"""Read a table, infer the role of each column, encode the columns as features.

Conventions: `codes` int64 (n,) are the indices of the rows' values in the column's distinct texts, -1 for a missing
value. `form` is how text is parsed: the decimal mark and unit of numbers, such as ".%", or the format of dates; "" if
the values are not text, or to infer it. Dates are days since 1970, UTC.
"""

from gpunet.data.table.columns import Column, Role
from gpunet.data.table.reading import read_table
from gpunet.data.table.schema import Missing, TableSchema
from gpunet.data.table.tables import Table
from gpunet.data.table.text_format import ReadOptions

__all__ = ["Column", "Missing", "ReadOptions", "Role", "Table", "TableSchema", "read_table"]
