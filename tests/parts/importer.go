// Imports files of slashing protection (EIP-3076) with Prysm's own code, one after another, into a new database, and says
// what came of it: what was refused, which keys it took out of use, and which votes it would still sign.
//
//	importer kv|minimal EPOCH FILE...
//	importer kv|minimal steps FOLDER VECTOR
//
// Prints {"refused": [error or ""], "disabled": [key], "signs": {key: [[source, target]]}} of all votes whose target is at most
// four epochs from EPOCH, and whose source is at most six before it. `kv` is the database that the client makes by default.
//
// The second form runs the steps of a vector (the format of EIP-3076's public tests) with the database in FOLDER, which stays,
// and prints {"steps": [{"refused", "blocks": [signed?], "attestations": [signed?]}], "disabled": [key]}.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prysmaticlabs/prysm/v5/consensus-types/blocks"
	"github.com/prysmaticlabs/prysm/v5/consensus-types/interfaces"
	"github.com/prysmaticlabs/prysm/v5/consensus-types/primitives"
	ethpb "github.com/prysmaticlabs/prysm/v5/proto/prysm/v1alpha1"
	"github.com/prysmaticlabs/prysm/v5/validator/db/filesystem"
	"github.com/prysmaticlabs/prysm/v5/validator/db/kv"
	"github.com/prysmaticlabs/prysm/v5/validator/helpers"
	"github.com/prysmaticlabs/prysm/v5/validator/slashing-protection-history/format"
	"github.com/sirupsen/logrus"
)

type store interface {
	ImportStandardProtectionJSON(context.Context, io.Reader) error
	EIPImportBlacklistedPublicKeys(context.Context) ([][48]byte, error)
	SaveGenesisValidatorsRoot(context.Context, []byte) error
	SlashableProposalCheck(
		context.Context, [48]byte, interfaces.ReadOnlySignedBeaconBlock, [32]byte, bool, *prometheus.CounterVec) error
	SlashableAttestationCheck(context.Context, ethpb.IndexedAtt, [48]byte, [32]byte, bool, *prometheus.CounterVec) error
	Close() error
}

var ctx = context.Background()

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func open(kind, folder string) store {
	if kind == "minimal" {
		db, err := filesystem.NewStore(folder, &filesystem.Config{})
		check(err)
		return db
	}
	db, err := kv.NewKVStore(ctx, folder, &kv.Config{})
	check(err)
	return db
}

// What a new database that has imported all files answers.
func with(kind string, files [][]byte, ask func(store)) []string {
	folder, err := os.MkdirTemp("", "importer")
	check(err)
	defer os.RemoveAll(folder)
	db := open(kind, folder)
	refused := []string{}
	for _, text := range files {
		if err := db.ImportStandardProtectionJSON(ctx, bytes.NewReader(text)); err != nil {
			refused = append(refused, err.Error())
		} else {
			refused = append(refused, "")
		}
	}
	ask(db)
	check(db.Close())
	return refused
}

func vote(source, target primitives.Epoch) *ethpb.IndexedAttestation {
	return &ethpb.IndexedAttestation{Data: &ethpb.AttestationData{
		Source: &ethpb.Checkpoint{Epoch: source}, Target: &ethpb.Checkpoint{Epoch: target},
	}}
}

func disabledIn(db store) []string {
	disabled := []string{}
	for _, key := range must(db.EIPImportBlacklistedPublicKeys(ctx)) {
		disabled = append(disabled, fmt.Sprintf("%#x", key))
	}
	return disabled
}

type message struct {
	Pubkey string `json:"pubkey"`
	Slot   string `json:"slot"`
	Source string `json:"source_epoch"`
	Target string `json:"target_epoch"`
	Root   string `json:"signing_root"`
}

func (m message) root() (root [32]byte) {
	if m.Root != "" {
		root = must(helpers.RootFromHex(m.Root))
	}
	return root
}

func steps(kind, folder, name string) {
	var vector struct {
		Root  string `json:"genesis_validators_root"`
		Steps []struct {
			Interchange  json.RawMessage `json:"interchange"`
			Blocks       []message       `json:"blocks"`
			Attestations []message       `json:"attestations"`
		} `json:"steps"`
	}
	check(json.Unmarshal(must(os.ReadFile(name)), &vector))
	db := open(kind, folder)
	root := must(helpers.RootFromHex(vector.Root))
	check(db.SaveGenesisValidatorsRoot(ctx, root[:]))
	answers := []map[string]any{}
	for _, step := range vector.Steps {
		refused, signed := "", map[string][]bool{"blocks": {}, "attestations": {}}
		if err := db.ImportStandardProtectionJSON(ctx, bytes.NewReader(step.Interchange)); err != nil {
			refused = err.Error()
		}
		for _, m := range step.Blocks {
			block := must(blocks.NewSignedBeaconBlock(&ethpb.SignedBeaconBlock{Block: &ethpb.BeaconBlock{
				Slot: must(helpers.SlotFromString(m.Slot)), Body: &ethpb.BeaconBlockBody{},
			}}))
			err := db.SlashableProposalCheck(ctx, must(helpers.PubKeyFromHex(m.Pubkey)), block, m.root(), false, nil)
			signed["blocks"] = append(signed["blocks"], err == nil)
		}
		for _, m := range step.Attestations {
			vote := vote(must(helpers.EpochFromString(m.Source)), must(helpers.EpochFromString(m.Target)))
			err := db.SlashableAttestationCheck(ctx, vote, must(helpers.PubKeyFromHex(m.Pubkey)), m.root(), false, nil)
			signed["attestations"] = append(signed["attestations"], err == nil)
		}
		answers = append(answers, map[string]any{
			"refused": refused, "blocks": signed["blocks"], "attestations": signed["attestations"],
		})
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"steps": answers, "disabled": disabledIn(db)}))
	check(db.Close())
}

func main() {
	logrus.SetOutput(io.Discard)
	kind := os.Args[1]
	if os.Args[2] == "steps" {
		steps(kind, os.Args[3], os.Args[4])
		return
	}
	epoch, err := strconv.ParseUint(os.Args[2], 10, 64)
	check(err)
	files, keys := [][]byte{}, map[string][48]byte{}
	for _, name := range os.Args[3:] {
		text, err := os.ReadFile(name)
		check(err)
		files = append(files, text)
		var file format.EIPSlashingProtectionFormat
		if json.Unmarshal(text, &file) != nil {
			continue
		}
		for _, entry := range file.Data {
			raw, err := hex.DecodeString(strings.TrimPrefix(entry.Pubkey, "0x"))
			check(err)
			keys[entry.Pubkey] = [48]byte(raw)
		}
	}
	disabled, signs := []string{}, map[string][][2]uint64{}
	refused := with(kind, files, func(db store) { disabled = disabledIn(db) })
	for target := epoch - 4; target <= epoch+4; target++ {
		for source := epoch - 6; source < target; source++ {
			// A vote that it would sign is written down, so each is asked of a database of its own.
			with(kind, files, func(db store) {
				for name, key := range keys {
					vote := vote(primitives.Epoch(source), primitives.Epoch(target))
					if db.SlashableAttestationCheck(ctx, vote, key, [32]byte{7}, false, nil) == nil {
						signs[name] = append(signs[name], [2]uint64{source, target})
					}
				}
			})
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"refused": refused, "disabled": disabled, "signs": signs}))
}
