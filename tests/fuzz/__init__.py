"""What no input may do: targets, each with its invariant in a sentence.

tests/fuzz/targets.py   the targets
tests/fuzz/engine.py    one of them under atheris, guided by coverage
tests/fuzz/corpus/      inputs by target: each is run by every test run
"""
