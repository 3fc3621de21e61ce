"""Tables: read a file, infer the role of each column, encode the columns as features."""

from gpunet.data.table.columns import Column, Role
from gpunet.data.table.reading import read_table
from gpunet.data.table.schema import Missing, TableSchema
from gpunet.data.table.sniffing import ReadOptions
from gpunet.data.table.tables import Table

__all__ = ["Column", "Missing", "ReadOptions", "Role", "Table", "TableSchema", "read_table"]
