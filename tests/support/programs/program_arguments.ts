/**
 * The arguments of a test's program that contain a URL or a key. They come on
 * standard input, because everybody on the machine can read a command line.
 */
import type { ChildProcess } from "node:child_process";
import process from "node:process";

/** Sends the arguments and ends the program's input. */
export function giveArguments(child: ChildProcess, args: string[]): void {
  child.stdin!.on("error", () => {}); // the program's exit is noticed, too
  child.stdin!.end(JSON.stringify(args));
}

/** Reads the arguments, in the program. */
export async function takeArguments(): Promise<string[]> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += chunk;
  return JSON.parse(text);
}
