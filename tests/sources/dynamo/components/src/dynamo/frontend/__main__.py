"""Say a word of the Python code and a number of the Rust code."""

from dynamo._core import number
from dynamo.frontend.word import WORD
from dynamo.runtime import NAME

print(WORD, NAME, number())
