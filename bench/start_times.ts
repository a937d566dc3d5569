/**
 * How long a program takes until it has an open store, of a schema that is there
 * and has no owner: from the start of its process, and once more in a process that
 * has opened one before. Modules take turns, round by round, so that this checkout
 * can be compared with another one. Prints medians with the least and the most, and
 * processor time of the client beside, which says more on a machine with other work.
 *
 * ```sh
 * deno run -A bench/start_times.ts [--rounds=9] [MODULE...]
 * bun bench/start_times.ts ../before/mod.ts mod.ts
 * ```
 *
 * It brings its own server, with a schema of 256 partitions for each module.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { parseArguments, runProgram } from "../scripts/arguments.ts";

/** Milliseconds, of one process. */
interface Times {
  /** From the start of the process to the open store. */
  start: number;
  /** Processor time of all that. */
  startCpu: number;
  /** The last of some openings in a process that has opened others. */
  open: number;
  openCpu: number;
}

/** The process does not know when it was begun; its parent does. */
const program = (module: string) =>
  `import { openStreamStorage } from ${JSON.stringify(module)};
import process from "node:process";
const [, , url, schema, begun] = process.argv;
const open = () => openStreamStorage({ url, schema });
const cpuMs = (since) => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
};
let storage = await open();
const start = Date.now() - Number(begun);
const startCpu = cpuMs();
let times;
for (let i = 0; i < 5; i++) {
  await storage.close();
  const [since, used] = [performance.now(), process.cpuUsage()];
  storage = await open();
  times = { open: performance.now() - since, openCpu: cpuMs(used) };
}
await storage.close();
console.log(JSON.stringify({ start, startCpu, ...times }));
`;

function runProcess(file: string, url: string, schema: string): Times {
  const flags = "Deno" in globalThis ? ["-A", "--no-check"] : [];
  const { status, stdout } = spawnSync(
    process.execPath,
    ["run", ...flags, file, url, schema, String(Date.now())],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
  );
  if (status !== 0) throw new Error(`${file} ended with ${status}`);
  return JSON.parse(stdout);
}

function spread(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const shown = (value: number) => value.toFixed(0);
  return `${shown(sorted[Math.floor(sorted.length / 2)]!)} ms ` +
    `(${shown(sorted[0]!)} to ${shown(sorted.at(-1)!)})`;
}

const usage = `Usage: start_times.ts [--rounds N] [MODULE...]

How long a program takes until it has an open store.

  --rounds N  how often each module is run (9)
  --help      this text`;

/** @throws {Error} what is wrong with the arguments. */
function readArguments(args: string[]) {
  const { values, positionals } = parseArguments({
    args,
    options: {
      rounds: { type: "string", default: "9" },
      help: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  const rounds = Number(values.rounds);
  if (!Number.isSafeInteger(rounds) || rounds < 1) {
    throw new Error("--rounds takes a whole number of 1 or more");
  }
  if (!positionals.every((module) => existsSync(module))) {
    throw new Error("MODULE must be a file that exists (it is not shown)");
  }
  const modules = positionals.length > 0 ? positionals : ["mod.ts"];
  return { modules, rounds, help: values.help };
}

type Options = ReturnType<typeof readArguments>;

async function run({ modules, rounds }: Options): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await startEmbeddedPostgres());
  const programs = modules.map((module, i) => {
    const path = resolve(module);
    // There, so that packages are those of its project.
    const dir = mkdtempSync(join(dirname(path), "start-times-"));
    stack.defer(() => rmSync(dir, { recursive: true }));
    const file = join(dir, "main.ts");
    writeFileSync(file, program(pathToFileURL(path).href));
    const schema = `start_times_${i}`;
    runProcess(file, url, schema); // makes the schema, and fills the caches
    return { module, file, schema, times: [] as Times[] };
  });
  for (let round = 0; round < rounds; round++) {
    for (const { file, schema, times } of programs) {
      times.push(runProcess(file, url, schema));
    }
  }
  for (const { module, times } of programs) {
    const of = (key: keyof Times) => spread(times.map((one) => one[key]));
    console.log(
      `${module}: process start to open store ${of("start")}, CPU ` +
        `${of("startCpu")}; open again ${of("open")}, CPU ${of("openCpu")}`,
    );
  }
  return 0;
}

process.exitCode = await runProgram({ usage, readArguments, run });
