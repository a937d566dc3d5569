/**
 * Measures how long modules take to load: the time from the start of a new
 * process to the end of the import, less the time of a process that imports
 * nothing. The modules take turns, round by round, and the runtime's caches are
 * warm. Prints medians of the time and of the CPU time. On a machine with other
 * work, the CPU time is the better measure.
 *
 * ```sh
 * deno run -A bench/import_time.ts [--rounds=9] MODULE [MODULE...]
 * bun bench/import_time.ts ../before/mod.ts mod.ts p-retry
 * ```
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArguments } from "../scripts/arguments.ts";

interface Times {
  wallMs: number;
  cpuMs: number;
}

const report = `import process from "node:process";
const wallMs = performance.now();
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ wallMs, cpuMs: (user + system) / 1000 }));
`;

function load(program: string): Times {
  const flags = "Deno" in globalThis ? ["-A", "--no-check"] : [];
  const { status, stdout } = spawnSync(
    process.execPath,
    ["run", ...flags, program],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
  );
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return JSON.parse(stdout);
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function medians(times: Times[]): Times {
  return {
    wallMs: median(times.map(({ wallMs }) => wallMs)),
    cpuMs: median(times.map(({ cpuMs }) => cpuMs)),
  };
}

function main(): void {
  const { values, positionals } = parseArguments({
    options: { rounds: { type: "string", default: "9" } },
    allowPositionals: true,
  });
  // In this folder, so that bare specifiers resolve as they do in this project.
  const dir = mkdtempSync(join(import.meta.dirname!, "import-time-"));
  try {
    const programs = ["", ...positionals].map((module, i) => {
      const program = join(dir, `${i}.ts`);
      const specifier = existsSync(module)
        ? pathToFileURL(resolve(module)).href
        : module;
      const line = module === "" ? "" : `import "${specifier}";\n`;
      writeFileSync(program, line + report);
      load(program); // fills the caches
      return { module, program, times: [] as Times[] };
    });
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const { program, times } of programs) times.push(load(program));
    }
    const [nothing, ...modules] = programs;
    const { wallMs, cpuMs } = medians(nothing!.times);
    console.log(`nothing: ${wallMs.toFixed(1)} ms, CPU ${cpuMs.toFixed(1)} ms`);
    for (const { module, times } of modules) {
      const its = medians(times);
      console.log(
        `${module}: ${(its.wallMs - wallMs).toFixed(1)} ms, ` +
          `CPU ${(its.cpuMs - cpuMs).toFixed(1)} ms`,
      );
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
}

main();
