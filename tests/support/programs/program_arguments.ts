/**
 * The arguments of a program of these tests. Those with an address or a key
 * come on standard input: everybody on the machine can read a command line.
 */
import type { ChildProcess } from "node:child_process";
import process from "node:process";

/** Hands them over; the program's input ends with them. */
export function giveArguments(child: ChildProcess, args: string[]): void {
  child.stdin!.on("error", () => {}); // it has ended, and its end tells
  child.stdin!.end(JSON.stringify(args));
}

/** Takes them, in the program. */
export async function takeArguments(): Promise<string[]> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += chunk;
  return JSON.parse(text);
}
