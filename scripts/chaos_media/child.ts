import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Told } from "./ledger.ts";
import type { Task } from "./store_process.ts";

/** A process that works on the streams. */
export interface Child {
  /** Resolves when it owns the schema, or has ended without. */
  opened: Promise<void>;
  /** Resolves when all that it told is heard. */
  ended: Promise<void>;
  kill(): void;
  /** Ends it by asking. */
  stop(): void;
}

/** Starts a process with the runtime of this one. */
export function startChild(task: Task, hear: (told: Told) => void): Child {
  const program = new URL("store_process.ts", import.meta.url);
  const child: ChildProcess = spawn(
    process.execPath,
    [
      "run",
      ...("Deno" in globalThis ? ["-A", "--no-check"] : []),
      fileURLToPath(program),
      JSON.stringify(task),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  child.stdin!.on("error", () => {});
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const lines = createInterface({ input: child.stdout! });
  lines.on("line", (line) => {
    // A process that is killed may leave a line half written.
    if (!line.endsWith("}")) return;
    const told: Told = JSON.parse(line);
    if (told.what === "open") open();
    hear(told);
  });
  const ended = Promise.all([once(child, "close"), once(lines, "close")])
    .then(() => open());
  return {
    opened,
    ended,
    kill: () => child.kill("SIGKILL"),
    stop: () => child.stdin!.end(),
  };
}
