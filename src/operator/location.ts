/** Where a stream's blocks are, from the letter that `es` has for it. */

import type { StreamLocation } from "./status/types.ts";

const locations: Readonly<Record<string, StreamLocation>> = {
  D: "database",
  S: "s3",
  G: "gcs",
};

/** The letters are those of a constraint, so there are no others. */
export function locationOf(letter: string): StreamLocation {
  return locations[letter] ?? "database";
}
