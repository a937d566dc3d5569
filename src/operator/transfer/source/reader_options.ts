import type { StreamReaderOptions } from "../../../postgres/reader_options.ts";
import type { OwnerOptions } from "../../repair/owner.ts";

/** Options of transfers alone, which readers and owners refuse. */
const own = [
  ...["streamIds", "types", "rate", "concurrency", "onProgress", "onProblem"],
  ...["file", "resume", "existing", "after", "from", "to", "follow", "left"],
  ...["right", "onDifference"],
] as const;

/** Long, because no caller waits and pages may be large. */
const operationTimeoutMs = 30_000;

function withoutOwn(options: object): Record<string, unknown> {
  const names: readonly string[] = own;
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !names.includes(name)),
  );
}

/** The options that are passed on to a reader. */
export function sourceReaderOptions(
  options: StreamReaderOptions,
): StreamReaderOptions {
  return {
    applicationName: "stream-transfer",
    operationTimeoutMs,
    ...withoutOwn(options),
  } as StreamReaderOptions;
}

/** The options that are passed on to an owner. */
export function targetOwnerOptions(options: OwnerOptions): OwnerOptions {
  return {
    applicationName: "stream-transfer",
    // Concurrent commits share a flush of the disk.
    maxConnections: 10,
    operationTimeoutMs,
    ...withoutOwn(options),
  } as OwnerOptions;
}
