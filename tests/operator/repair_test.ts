/**
 * Repairs are planned and made, after which the damage is gone; they are
 * undone, after which it is found again.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import {
  applyRepairs,
  type Finding,
  planRepairs,
  undoRepairs,
  verify,
} from "../../src/operator/mod.ts";
import { assertFails } from "../../src/testing/contract/support.ts";
import { type FilledSchema, fillSchema } from "../support/every_kind.ts";

/** Damage to different streams, and the result of each repair. */
const mended: Record<string, string>[] = [
  {
    "a pointer to no block": `UPDATE @.es
      SET latest_snapshot_miniblock = 99 WHERE stream_id = 'regular'`,
    "a pointer of -1, where snapshots are inside the blocks": `UPDATE @.es
      SET latest_snapshot_miniblock = -1 WHERE stream_id = 'legacy'`,
    "a pointer of a stream without a snapshot": `UPDATE @.es
      SET latest_snapshot_miniblock = 3 WHERE stream_id = 'noSnapshot'`,
    "a pointer outside the last run": `UPDATE @.es
      SET latest_snapshot_miniblock = 0 WHERE stream_id = 'gapped'`,
    "stale candidates": `UPDATE @.miniblock_candidates_{regular}
      SET seq_num = 5 WHERE stream_id = 'regular' AND seq_num = 6`,
    "a missing marker before events": `DELETE FROM @.minipools_{another}
      WHERE stream_id = 'another' AND slot_num = -1`,
    "a minipool that was lost": `DELETE FROM @.minipools_{trimmed}
      WHERE stream_id = 'trimmed'`,
    "the marker of a media stream": `DELETE FROM @.minipools_{offloaded}
      WHERE stream_id = 'offloaded'`,
    "an ephemeral stream with a minipool": `INSERT INTO @.minipools_{ephemeral}
      VALUES ('ephemeral', 4, -1, NULL), ('ephemeral', 4, 0, 'event')`,
  },
  {
    "a marker of an earlier generation beside the events":
      `UPDATE @.minipools_{another} SET generation = 4
      WHERE stream_id = 'another' AND slot_num = -1`,
    "two markers": `INSERT INTO @.minipools_{trimmed}
      VALUES ('trimmed', 4, -1, NULL)`,
    "blocks of no stream": `DELETE FROM @.es WHERE stream_id = 'regular';
      DELETE FROM @.minipools_{regular} WHERE stream_id = 'regular';
      DELETE FROM @.miniblock_candidates_{regular} WHERE stream_id = 'regular'`,
    "events of no stream": `INSERT INTO @.minipools_{nobody}
      VALUES ('nobody', 1, -1, NULL), ('nobody', 1, 0, 'event')`,
    "candidates of no stream": `INSERT INTO @.miniblock_candidates_{nobody}
      VALUES ('nobody', 1, 'hash', 'block', 'snapshot')`,
    "places of no stream": `DELETE FROM @.es WHERE stream_id = 'offloaded';
      DELETE FROM @.minipools_{offloaded} WHERE stream_id = 'offloaded'`,
  },
];

/** Damage that can't be repaired without a guess. */
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

  for (const damages of mended) {
    it(`are made and undone: ${Object.keys(damages).join(", ")}`, async () => {
      await filled.sql(Object.values(damages).join(";"));
      try {
        const damaged = await find();
        const before = await contents();
        const plan = planRepairs(damaged);
        assert.equal(plan.length, Object.keys(damages).length);
        const undoFile = newFile();
        const results = await applyRepairs(plan, { ...place(), undoFile });
        assert.deepEqual(
          results.filter(({ outcome }) => outcome !== "done"),
          [],
        );
        assert.deepEqual((await find()).map(text), healthy);

        const undone = await undoRepairs(undoFile, place());
        assert.deepEqual(
          undone.filter(({ outcome }) => outcome !== "done"),
          [],
        );
        assert.deepEqual(await contents(), before);
        assert.deepEqual(await find(), damaged);
        await undoRepairs(undoFile, place());
        assert.deepEqual(await contents(), before);
      } finally {
        await filled.restore();
      }
    });
  }

  it("leave damage alone that only a guess could repair, and say what to do", async () => {
    await filled.sql(Object.values(leftAlone).join(";"));
    try {
      const before = await contents();
      const plan = planRepairs(await find());
      assert.equal(plan.length, Object.keys(leftAlone).length);
      for (const { action, what, finding } of plan) {
        assert.equal(action.kind, "none", what);
        assert.ok(
          what.includes(`copy ${finding.streamId} --from-file`),
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

  it("change nothing in a stream that has changed since it was found", async () => {
    await filled.sql(Object.values(mended[0]!).join(";"));
    const plan = planRepairs(await find());
    await filled.restore();
    await filled.sql(
      `UPDATE @.minipools_{another} SET generation = 9
        WHERE stream_id = 'another'`,
    );
    try {
      const before = await contents();
      const options = { ...place(), undoFile: newFile() };
      const results = await applyRepairs(plan, options);
      const outcomes = new Set(results.map(({ outcome }) => outcome));
      assert.deepEqual([...outcomes].sort(), ["changed", "not_needed"]);
      assert.deepEqual(await contents(), before);
    } finally {
      await filled.restore();
    }
  });

  it("keep a stream's rows in the undo file, page by page", async () => {
    const sql = `INSERT INTO @.miniblocks_{nobody}
      SELECT 'nobody', number, decode(repeat('ab', 1000000), 'hex')
      FROM generate_series(0, 5) AS number`;
    await filled.sql(sql);
    try {
      const before = await contents();
      const findings = await find();
      // No error contains a byte of the payload.
      assert.ok(!JSON.stringify(findings).includes("abab"));
      const undoFile = newFile();
      await applyRepairs(planRepairs(findings), { ...place(), undoFile });
      assert.equal((await stat(undoFile)).mode & 0o777, 0o600);
      assert.deepEqual((await find()).map(text), healthy);
      // As if a crash had come between the last change and its note.
      const lines = (await readFile(undoFile, "utf8")).trimEnd().split("\n");
      await writeFile(undoFile, lines.slice(0, -1).join("\n"));
      const results = await undoRepairs(undoFile, place());
      assert.deepEqual(results.map(({ rows }) => rows), [5, 1]);
      assert.deepEqual(await contents(), before);
    } finally {
      await filled.restore();
    }
  });

  it("are not undone in a stream that was made meanwhile", async () => {
    await filled.sql(
      `INSERT INTO @.miniblocks_{nobody} VALUES ('nobody', 0, 'old')`,
    );
    try {
      const undoFile = newFile();
      const plan = planRepairs(await find());
      await applyRepairs(plan, { ...place(), undoFile });
      await filled.sql(
        `INSERT INTO @.es VALUES ('nobody', 0, true);
        INSERT INTO @.miniblocks_{nobody} VALUES ('nobody', 0, 'new')`,
      );
      const before = await contents();
      const [result] = await undoRepairs(undoFile, place());
      assert.equal(result?.outcome, "changed");
      assert.deepEqual(await contents(), before);
    } finally {
      await filled.restore();
    }
  });

  it("are refused while another instance owns the schema, unless they take over", async () => {
    const { url, schema } = filled;
    await filled.sql(
      `UPDATE @.es SET latest_snapshot_miniblock = 99
        WHERE stream_id = 'regular'`,
    );
    const owner = await openStreamStorage({
      url,
      schema,
      startupDelayMs: 0,
      maxConnections: 3,
      workerConcurrency: 0,
    });
    try {
      const plan = planRepairs(await find());
      await assertFails(
        applyRepairs(plan, { ...place(), undoFile: newFile() }),
        { code: "RESOURCE_EXHAUSTED", reason: "schema_owned" },
      );
      assert.ok(!owner.signal.aborted);
      const options = { ...place(), undoFile: newFile(), takeOver: true };
      const [result] = await applyRepairs(plan, options);
      assert.equal(result?.outcome, "done");
      assert.ok(owner.signal.aborted);
    } finally {
      await owner.close();
      await filled.restore();
    }
  });

  it("never overwrite an undo file, and accept no other file as one", async () => {
    const undoFile = newFile();
    const refused = { code: "BAD_CONFIG", reason: "undo_file" } as const;
    for (const content of ["", "text", "{}", '{"format":1}\n']) {
      await writeFile(undoFile, content);
      await assertFails(applyRepairs([], { ...place(), undoFile }), refused);
      assert.equal(await readFile(undoFile, "utf8"), content);
      await assertFails(undoRepairs(undoFile, place()), refused);
    }
    await assertFails(undoRepairs(newFile(), place()), refused);
  });
});
