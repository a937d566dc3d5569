import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A process that works on the streams. */
export interface Child {
  pid: number;
  /** Resolves when it has told of something, or has ended without. */
  opened: Promise<void>;
  /** Resolves when all that it told is heard. */
  ended: Promise<void>;
  kill(): void;
  /** Ends it by asking. */
  stop(): void;
}

/** Starts one of the programs here with the runtime of this one. */
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
    // A process that is killed may leave a line half written.
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
