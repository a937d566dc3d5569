/**
 * Writes and reads for the given time while all workers run, and restarts the
 * store again and again, on the server of STREAM_STORAGE_TEST_URL or on an
 * embedded one. Exits with 1 if the store lost something, or kept what it
 * should have removed.
 *
 * ```sh
 * deno task soak:workers --minutes 10
 * deno task soak:workers --seed 42 --authors 20
 * ```
 */
import process from "node:process";
import { parseArguments } from "./arguments.ts";
import { soakWorkers } from "../tests/support/soak/workers_soak.ts";

async function main(): Promise<number> {
  const { values } = parseArguments({
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string", default: crypto.randomUUID() },
      authors: { type: "string", default: "10" },
      steps: { type: "string", default: "100" },
    },
  });
  const { seed } = values;
  const [minutes, authors, steps] = [
    Number(values.minutes),
    Number(values.authors),
    Number(values.steps),
  ];
  if (!(minutes > 0) || !(authors > 0) || !(steps > 0)) {
    console.error(
      "Usage: soak_workers.ts [--minutes N] [--seed S] [--authors N] [--steps N]",
    );
    return 2;
  }
  console.log(`Seed ${seed}, ${minutes} minutes`);
  const end = performance.now() + minutes * 60_000;
  try {
    await soakWorkers({
      seed,
      authors,
      steps,
      rounds: 1,
      goesOn: () => performance.now() < end,
      onRound: (counts) => console.log(JSON.stringify(counts)),
    });
    console.log("Nothing was lost, and nothing remains that should be gone");
    return 0;
  } catch (error) {
    console.error(error);
    return 1;
  }
}

process.exit(await main());
