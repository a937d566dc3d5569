import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A process that works on the streams. */
export interface Child {
  pid: number;
  /** Resolves when it has sent its first message, or has ended without one. */
  opened: Promise<void>;
  /** Resolves when it has ended and all its messages were received. */
  ended: Promise<void>;
  kill(): void;
  /** Asks it to end. */
  stop(): void;
}

/** Starts a program of this folder with the runtime of this process. */
export function startChild<Message>(
  program: string,
  task: unknown,
  onMessage: (message: Message) => void,
): Child {
  const child: ChildProcess = spawn(
    process.execPath,
    [
      "run",
      ...("Deno" in globalThis
        ? ["-A", "--no-check", "--v8-flags=--expose-gc"]
        : []),
      fileURLToPath(new URL(program, import.meta.url)),
      JSON.stringify(task),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  child.stdin!.on("error", () => {});
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const lines = createInterface({ input: child.stdout! });
  lines.on("line", (line) => {
    // A killed process may have written only a part of its last line.
    if (!line.endsWith("}")) return;
    const message: Message = JSON.parse(line);
    open();
    onMessage(message);
  });
  const ended = Promise.all([once(child, "close"), once(lines, "close")])
    .then(() => open());
  return {
    pid: child.pid!,
    opened,
    ended,
    kill: () => child.kill("SIGKILL"),
    stop: () => child.stdin!.end(),
  };
}
