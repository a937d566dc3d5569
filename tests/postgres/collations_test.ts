/**
 * On real databases with ICU locales, ids are listed in the order of their
 * bytes, however the locale sorts text.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseStreamId, type StreamId } from "../../src/storage/stream_id.ts";
import { block } from "../../src/testing/contract/support.ts";
import { createTestDatabase } from "../support/database.ts";
import { openTestStorage } from "../support/storage.ts";

/** Locales that don't sort 0 to 9 and a to f by bytes, and what differs. */
const locales: Record<string, string> = {
  "da": "aa comes after z",
  "cy": "ff is a letter after f, dd one after d",
  "en-u-kn-true": "digits in a row are a number",
};

/** The clauses of a database that sorts text as the locale does. */
const clausesFor = (locale: string) =>
  `TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'
   LOCALE_PROVIDER icu ICU_LOCALE '${locale}'`;

const starts = ["00", "09", "0a", "10", "1f", "9", "aa", "ab", "a9", "d", "dd"]
  .concat(["de", "f", "fa", "fd", "ff", "ffa", "f9"]);

/** Ids of one type, shuffled, that the locales don't sort by bytes. */
function idsOf(prefix: string): StreamId[] {
  const ids = starts.map((start) =>
    parseStreamId((prefix + start).padEnd(64, "7"))
  );
  return ids.sort((a, b) => a.slice(-40) < b.slice(-40) ? 1 : -1).toReversed();
}

/** Sorts by UTF-16, which for hexadecimal digits is the order of bytes. */
function sorted(ids: readonly StreamId[]): StreamId[] {
  return [...ids].sort((a, b) => a < b ? -1 : 1);
}

for (const [locale, what] of Object.entries(locales)) {
  describe(`A database of locale ${locale}, where ${what}`, () => {
    it("lists streams in the order of their ids' bytes", async () => {
      await using database = await createTestDatabase(clausesFor(locale));
      const { url } = database;
      await using test = await openTestStorage({ url });
      const { storage } = test;
      const ids = [...idsOf("20"), ...idsOf("ff")];
      for (const id of ids) await storage.createStreamStorage(id, block(0));
      const expected = sorted(ids);
      assert.deepEqual(await storage.getStreams(), expected);
      const paged: StreamId[] = [];
      for (let after: StreamId | undefined = undefined;;) {
        const page: StreamId[] = await storage.getStreams({
          limit: 5,
          ...(after === undefined ? {} : { after }),
        });
        paged.push(...page);
        if (page.length < 5) break;
        after = page.at(-1);
      }
      assert.deepEqual(paged, expected);
    });

    it("lists ephemeral streams in the order of their ids' bytes", async () => {
      await using database = await createTestDatabase(clausesFor(locale));
      const { url } = database;
      await using test = await openTestStorage({ url });
      const { storage } = test;
      const ids = idsOf("ff");
      for (const id of ids) {
        await storage.createEphemeralStreamStorage(id, block(0));
      }
      const report = await storage.maintenance.sweepEphemeralStreams({
        ttlMs: 0,
        dryRun: true,
      });
      assert.deepEqual(report.streamIds, sorted(ids));
    });
  });
}
