import { type ChildProcessByStdio, spawn } from "node:child_process";
import process from "node:process";
import type { Readable, Writable } from "node:stream";

/**
 * Starts a program of ours with the runtime of this process, behind the words of
 * `command`, and sends it its plan. The plan may hold a password, and every user
 * of the machine could read an argument, so it goes to the program's input.
 */
export function startProgram(
  script: string,
  plan: unknown,
  command: readonly string[],
): ChildProcessByStdio<Writable, Readable, null> {
  const flags = "Deno" in globalThis ? ["run", "-A", "--no-check"] : ["run"];
  const [program = process.execPath, ...args] = [
    ...command,
    process.execPath,
    ...flags,
    script,
  ];
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => {}); // its exit is noticed anyway
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  return child;
}
