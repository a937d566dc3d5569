import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { giveArguments } from "./program_arguments.ts";

/** A running program. */
export interface Running {
  process: ChildProcess;
  /** Resolves when the program ends, with what it printed. */
  ended: Promise<{ code: number | null; printed: string }>;
}

/** Runs a program with the runtime of these tests. */
export function runProgram(program: URL, args: string[]): Running {
  const child = spawn(
    process.execPath,
    [
      "run",
      ...("Deno" in globalThis ? ["-A", "--no-check"] : []),
      fileURLToPath(program),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  giveArguments(child, args);
  let printed = "";
  child.stdout!.on("data", (data) => printed += data);
  const ended = once(child, "close").then(([code]) => ({ code, printed }));
  return { process: child, ended };
}
