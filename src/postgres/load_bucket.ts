import { loadModule } from "../storage/load_module.ts";
import type { OpenBucket } from "./open_bucket.ts";
import type { ReadingOptions } from "./resolved_options.ts";

/** Loads the code that opens buckets, only if one is configured. */
export async function loadBucket(
  { mediaStorage }: Pick<ReadingOptions, "mediaStorage">,
): Promise<OpenBucket | undefined> {
  if (mediaStorage === undefined) return undefined;
  const { openBucket } = await loadModule(() => import("./open_bucket.ts"));
  return openBucket;
}
