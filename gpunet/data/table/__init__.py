"""Tables: read a file, infer the role of each column, encode the columns as features."""

from gpunet.data.table.columns import Column, Role
from gpunet.data.table.reading import read_table
from gpunet.data.table.schema import Missing, TableSchema
from gpunet.data.table.tables import Table
from gpunet.data.table.text_format import ReadOptions

__all__ = ["Column", "Missing", "ReadOptions", "Role", "Table", "TableSchema", "read_table"]
