#!/bin/sh
# Stands in for a node: writes down what it was given, and runs. As geth it has no HOME, and writes nothing.
[ -z "${HOME:-}" ] || printf '%s|' "$@" > "$HOME/arguments" || exit 1
exec sleep infinity
