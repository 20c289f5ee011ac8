#!/bin/sh
# The start script of a release for the role `generic`: makes the folder that CometBFT wants, at the first start, in HOME,
# where the unit's data are, with the genesis that lies in the release beside this. It brings no key along.
set -eu
here=$(dirname "$(realpath "$0")")
# Its last step is the one that is looked for, so that a start that was killed is made up for.
if [ ! -e "$HOME/config/.made" ]; then
  "$here/cometbft" init --home "$HOME"
  cp "$here/genesis.json" "$HOME/config/genesis.json"
  touch "$HOME/config/.made"
fi
exec "$here/cometbft" start --home "$HOME" "$@"
