import type { StreamReaderOptions } from "../../../postgres/reader_options.ts";
import type { OwnerOptions } from "../../repair/owner.ts";

/** What only transfers know; a reader and an owner refuse it. */
const own = [
  ...["streamIds", "types", "rate", "concurrency", "onProgress", "onProblem"],
  ...["file", "resume", "existing", "after", "from", "to", "follow", "left"],
  ...["right", "onDifference"],
] as const;

/** Nobody waits for it, and pages may be large. */
const operationTimeoutMs = 30_000;

function withoutOwn(options: object): Record<string, unknown> {
  const names: readonly string[] = own;
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !names.includes(name)),
  );
}

/** What is left of the options for a reader. */
export function sourceReaderOptions(
  options: StreamReaderOptions,
): StreamReaderOptions {
  return {
    applicationName: "stream-transfer",
    operationTimeoutMs,
    ...withoutOwn(options),
  } as StreamReaderOptions;
}

/** What is left of the options for an owner. */
export function targetOwnerOptions(options: OwnerOptions): OwnerOptions {
  return {
    applicationName: "stream-transfer",
    // Commits beside each other share what the disk does for them.
    maxConnections: 10,
    operationTimeoutMs,
    ...withoutOwn(options),
  } as OwnerOptions;
}
