/**
 * Measures how long a program takes to open a store on a schema that exists and
 * has no owner: from the start of the process, and again in a process that has
 * opened a store before. Modules take turns, round by round, so that this
 * checkout can be compared with another. Prints medians, minima and maxima of
 * the time and of the client's CPU time. On a machine with other work, the CPU
 * time is the better measure.
 *
 * ```sh
 * deno run -A bench/start_times.ts [--rounds=9] [MODULE...]
 * bun bench/start_times.ts ../before/mod.ts mod.ts
 * ```
 *
 * The program starts its own server and makes a schema of 256 partitions for
 * each module.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { startEmbeddedPostgres } from "../src/embedded/mod.ts";
import { parseArguments, runProgram } from "../scripts/arguments.ts";

/** Times of one process, in milliseconds. */
interface Times {
  /** From the start of the process to the open store. */
  start: number;
  /** CPU time from the start of the process to the open store. */
  startCpu: number;
  /** The last opening in a process that opens several stores. */
  open: number;
  openCpu: number;
}

/**
 * The program of a process. The parent passes the time at which it started it.
 */
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

Measures how long a program takes to open a store.

  --rounds N  how many times each module runs (9)
  --help      this text`;

/** @throws {Error} an argument is wrong; the message says what was expected. */
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
    // Next to the module, so that bare specifiers resolve as in its project.
    const dir = mkdtempSync(join(dirname(path), "start-times-"));
    stack.defer(() => rmSync(dir, { recursive: true }));
    const file = join(dir, "main.ts");
    writeFileSync(file, program(pathToFileURL(path).href));
    const schema = `start_times_${i}`;
    runProcess(file, url, schema); // makes the schema and fills the caches
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
