/** What can be mended is planned, done, gone, undone, and found again. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../src/open_stream_storage.ts";
import {
  applyRepairs,
  type Finding,
  planRepairs,
  type RepairResult,
  undoRepairs,
  verify,
} from "../src/operator/mod.ts";
import { assertFails } from "../src/testing/contract/support.ts";
import { type FilledSchema, fillSchema } from "./support/every_kind.ts";

/** Damage, and how often each outcome is expected. */
interface Damage {
  sql: string;
  outcomes: RepairResult["outcome"][];
}

const mended: Record<string, Damage> = {
  "a pointer to no block": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 99
      WHERE stream_id = 'regular'`,
    outcomes: ["done"],
  },
  "a pointer of -1, where snapshots are inside the blocks": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = -1
      WHERE stream_id = 'legacy'`,
    outcomes: ["done"],
  },
  "a pointer of a stream without a snapshot": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 3
      WHERE stream_id = 'noSnapshot'`,
    outcomes: ["done"],
  },
  "a pointer outside the last run": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 0
      WHERE stream_id = 'gapped'`,
    outcomes: ["done"],
  },
  "a stream that es has forgotten": {
    sql: `DELETE FROM @.es WHERE stream_id = 'regular'`,
    outcomes: ["done", "done", "done"],
  },
  "a moved stream that es has forgotten": {
    sql: `DELETE FROM @.es WHERE stream_id = 'offloaded'`,
    outcomes: ["done", "done"],
  },
  "stale candidates": {
    sql: `UPDATE @.miniblock_candidates_{regular} SET seq_num = 5
      WHERE stream_id = 'regular' AND seq_num = 6`,
    outcomes: ["done"],
  },
  "a missing marker before events": {
    sql: `DELETE FROM @.minipools_{regular}
      WHERE stream_id = 'regular' AND slot_num = -1`,
    outcomes: ["done"],
  },
  "a minipool that was lost": {
    sql: `DELETE FROM @.minipools_{regular} WHERE stream_id = 'regular'`,
    outcomes: ["done"],
  },
  "a marker of an earlier generation beside the events": {
    sql: `UPDATE @.minipools_{regular} SET generation = 4
      WHERE stream_id = 'regular' AND slot_num = -1`,
    outcomes: ["done"],
  },
  "two markers": {
    sql: `INSERT INTO @.minipools_{regular} VALUES ('regular', 4, -1, NULL)`,
    outcomes: ["done"],
  },
  "the marker of a sealed media stream": {
    sql: `DELETE FROM @.minipools_{offloaded} WHERE stream_id = 'offloaded';
      DELETE FROM @.minipools_{sealed} WHERE stream_id = 'sealed'`,
    // Sealed, but at 0 and without a minipool: it could be an archive's.
    outcomes: ["done"],
  },
  "an ephemeral stream with a minipool": {
    sql: `INSERT INTO @.minipools_{ephemeral} VALUES
      ('ephemeral', 4, -1, NULL), ('ephemeral', 4, 0, 'event')`,
    outcomes: ["done"],
  },
};

/** Nothing of this can be mended without a guess. */
const leftAlone: Record<string, string> = {
  "a lost block": `DELETE FROM @.miniblocks_{regular}
    WHERE stream_id = 'regular' AND seq_num = 4`,
  "a lost last block": `DELETE FROM @.miniblocks_{trimmed}
    WHERE stream_id = 'trimmed' AND seq_num = 8;
    DELETE FROM @.minipools_{trimmed}
    WHERE stream_id = 'trimmed' AND slot_num >= 0`,
  "a hole in a minipool": `DELETE FROM @.minipools_{regular}
    WHERE stream_id = 'regular' AND slot_num = 1`,
  "the only snapshot, lost": `UPDATE @.miniblocks_{trimmed} SET snapshot = NULL
    WHERE stream_id = 'trimmed'`,
  "blocks of an unknown place": `DELETE FROM @.miniblocks_ext_{offloaded}
    WHERE stream_id = 'offloaded'`,
};

describe("Repairs", () => {
  let filled: FilledSchema;
  let directory: string;
  let healthy: string[];
  let files = 0;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "stream-storage-undo-"));
    filled = await fillSchema();
    healthy = (await find()).map(text);
  });
  after(async () => {
    await filled[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const text = (finding: Finding) => JSON.stringify(finding);

  async function find(): Promise<Finding[]> {
    const { url, schema } = filled;
    const findings = await Array.fromAsync(verify({ url, schema }));
    return findings.sort((a, b) => text(a) < text(b) ? -1 : 1);
  }

  const newFile = () => join(directory, `undo-${files++}`);

  const place = () => {
    const { url, schema } = filled;
    return { url, schema, startupDelayMs: 0 };
  };

  /** Every row of the schema's tables. */
  async function contents(): Promise<unknown> {
    const tables = await filled.sql(
      `SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname = '${filled.schema}' AND relkind = 'r'
          AND (relname = 'es' OR relname ~ '_[rm]0[01]$') ORDER BY 1`,
    );
    return await filled.sql(
      tables.map(([name]) =>
        `SELECT '${name}', row::text FROM @.${name} AS row`
      ).join(" UNION ALL ") + " ORDER BY 1, 2",
    );
  }

  for (const [name, { sql, outcomes }] of Object.entries(mended)) {
    it(`mends ${name}, and takes that back`, async () => {
      await filled.sql(sql);
      try {
        const damaged = await find();
        const before = await contents();
        assert.notDeepEqual(damaged.map(text), healthy);
        const undoFile = newFile();
        const plan = planRepairs(damaged);
        const results = await applyRepairs(plan, { ...place(), undoFile });
        assert.deepEqual(results.map(({ outcome }) => outcome), outcomes);
        assert.deepEqual((await find()).map(text), healthy);
        await undoRepairs(undoFile, place());
        assert.deepEqual(await contents(), before);
        assert.deepEqual(await find(), damaged);
        const again = await undoRepairs(undoFile, place());
        assert.ok(
          again.every(({ change, outcome }) =>
            change === "marker" || outcome === "not_needed"
          ),
        );
        assert.deepEqual(await contents(), before);
      } finally {
        await filled.restore();
      }
    });
  }

  for (const [name, sql] of Object.entries(leftAlone)) {
    it(`leaves alone ${name}, and says what to do`, async () => {
      await filled.sql(sql);
      try {
        const before = await contents();
        const plan = planRepairs(await find());
        assert.ok(plan.length > 0);
        for (const { action, what, finding } of plan) {
          assert.equal(action.kind, "none");
          assert.ok(
            what.includes(`copy --from URL --stream ${finding.streamId}`),
          );
        }
        const options = { ...place(), undoFile: newFile() };
        const results = await applyRepairs(plan, options);
        assert.ok(results.every(({ outcome }) => outcome === "by_hand"));
        assert.deepEqual(await contents(), before);
      } finally {
        await filled.restore();
      }
    });
  }
});
