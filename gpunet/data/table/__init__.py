"""Tables: how their files are read, what their columns are, and how the columns become features."""

from gpunet.data.table.columns import Column, Role
from gpunet.data.table.reading import Table, read_table
from gpunet.data.table.schema import Missing, TableSchema
from gpunet.data.table.sniffing import ReadOptions

__all__ = ["Column", "Missing", "ReadOptions", "Role", "Table", "TableSchema", "read_table"]
