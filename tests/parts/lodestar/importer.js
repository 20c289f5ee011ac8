// Runs the steps of a vector (the format of EIP-3076's public tests) with Lodestar's own slashing protection.
//
//   node importer.js steps FOLDER VECTOR
//
// The database is in FOLDER and stays. Prints what Prysm's importer prints: {"steps": [{"refused", "blocks": [signed?],
// "attestations": [signed?]}], "disabled": []}; Lodestar takes no key out of use.
import {readFileSync} from "node:fs";

// The package shows its main file only, which would load a whole validator client.
const part = (name) => import(new URL(`node_modules/@lodestar/${name}`, import.meta.url));
const {SlashingProtection} = await part("validator/lib/slashingProtection/index.js");
const {LevelDbController} = await part("db/lib/index.js");

const [folder, name] = process.argv.slice(3);
const vector = JSON.parse(readFileSync(name, "utf8"));
const bytes = (hex) => Buffer.from(hex.slice(2), "hex");
const root = (message) => (message.signing_root ? bytes(message.signing_root) : Buffer.alloc(32));

const controller = new LevelDbController({name: folder}, {metrics: null});
await controller.start();
const protection = new SlashingProtection({controller});

async function refusal(act) {
  try {
    await act();
    return "";
  } catch (error) {
    if (!error.type?.code) throw error; // no rule of its own, but a fault
    return error.type.code;
  }
}

const steps = [];
for (const {interchange, blocks, attestations} of vector.steps) {
  const refused = await refusal(() => protection.importInterchange(interchange, bytes(vector.genesis_validators_root)));
  const answers = {refused, blocks: [], attestations: []};
  for (const block of blocks) {
    const asked = {slot: Number(block.slot), signingRoot: root(block)};
    answers.blocks.push(!(await refusal(() => protection.checkAndInsertBlockProposal(bytes(block.pubkey), asked))));
  }
  for (const vote of attestations) {
    const asked = {
      sourceEpoch: Number(vote.source_epoch),
      targetEpoch: Number(vote.target_epoch),
      signingRoot: root(vote),
    };
    answers.attestations.push(!(await refusal(() => protection.checkAndInsertAttestation(bytes(vote.pubkey), asked))));
  }
  steps.push(answers);
}
await controller.stop();
console.log(JSON.stringify({steps, disabled: []}));
