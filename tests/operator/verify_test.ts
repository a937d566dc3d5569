/** A verification finds every kind of damage, and nothing else. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type {
  Finding,
  VerifyLevel,
  VerifyOptions,
} from "../../src/operator/mod.ts";
import { verify } from "../../src/operator/mod.ts";
import {
  type EveryKind,
  type FilledSchema,
  fillSchema,
} from "../support/every_kind.ts";

/** A finding in short: `severity code stream`. */
type Short = string;

/** The findings for each copy of the streams. */
const healthy: Short[] = ["note gap gapped", "note no_blocks unwritten"];

/** Damage: the statements that do it, and the additional findings. */
interface Plant {
  sql: string;
  found: Short[];
  /** The statements that undo it, if restoring the rows does not. */
  undo?: string;
  level?: VerifyLevel;
  /** Whether it hides other damage. */
  isAlone?: boolean;
}

const plants: Record<string, Plant> = {
  "a stream without a block": {
    sql: `DELETE FROM @.miniblocks_{regular} WHERE stream_id = 'regular'`,
    found: ["error no_blocks regular"],
  },
  "an ephemeral stream without a block": {
    sql: `DELETE FROM @.miniblocks_{ephemeral} WHERE stream_id = 'ephemeral'`,
    found: ["error no_blocks ephemeral"],
  },
  "a stream that has lost every row": {
    sql: `DELETE FROM @.miniblocks_{another} WHERE stream_id = 'another';
      DELETE FROM @.minipools_{another} WHERE stream_id = 'another'`,
    found: ["error no_blocks another"],
  },
  "a pointer of -1": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = -1
      WHERE stream_id = 'regular'`,
    found: ["error snapshot_pointer regular"],
  },
  "a pointer to no block": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 99
      WHERE stream_id = 'regular'`,
    found: ["error snapshot_pointer regular"],
  },
  "a pointer to a block that was trimmed": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 0
      WHERE stream_id = 'trimmed'`,
    found: ["error snapshot_pointer trimmed"],
  },
  "a pointer to a block without a snapshot": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 4
      WHERE stream_id = 'regular'`,
    found: ["error snapshot_pointer regular"],
  },
  "a pointer to a block without a legacy snapshot": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 3
      WHERE stream_id = 'legacy'`,
    found: ["error snapshot_pointer legacy"],
  },
  "a snapshot that was lost": {
    sql: `UPDATE @.miniblocks_{trimmed} SET snapshot = NULL
      WHERE stream_id = 'trimmed' AND seq_num = 7`,
    found: ["error snapshot_pointer trimmed"],
  },
  "a pointer outside the last run": {
    sql: `UPDATE @.es SET latest_snapshot_miniblock = 0
      WHERE stream_id = 'gapped'`,
    found: ["error snapshot_pointer gapped"],
  },
  "blocks lost after the latest snapshot": {
    sql: `DELETE FROM @.miniblocks_{regular}
      WHERE stream_id = 'regular' AND seq_num = 4`,
    found: ["error gap regular"],
  },
  "blocks lost before it": {
    sql: `DELETE FROM @.miniblocks_{regular}
      WHERE stream_id = 'regular' AND seq_num = 1`,
    found: ["note gap regular"],
  },
  "a chunk of a sealed media stream that was lost": {
    sql: `DELETE FROM @.miniblocks_{sealed}
      WHERE stream_id = 'sealed' AND seq_num = 2`,
    found: ["error gap sealed"],
  },
  "an archived block that was lost, at its beginning": {
    sql: `DELETE FROM @.miniblocks_{archive}
      WHERE stream_id = 'archive' AND seq_num = 0`,
    // The remaining rows could not belong to an archive stream.
    found: ["error minipool_hole archive", "error snapshot_pointer archive"],
  },
  "a block without data": {
    sql: `UPDATE @.miniblocks_{noSnapshot} SET blockdata = ''
      WHERE stream_id = 'noSnapshot' AND seq_num = 2`,
    found: ["error empty_block noSnapshot"],
  },
  "a candidate without data": {
    sql: `UPDATE @.miniblock_candidates_{regular} SET blockdata = ''
      WHERE stream_id = 'regular' AND seq_num = 8`,
    found: ["error empty_block regular"],
  },
  "a minipool of another generation": {
    sql: `UPDATE @.minipools_{regular} SET generation = 5
      WHERE stream_id = 'regular'`,
    found: ["error minipool_generation regular"],
  },
  "a minipool of two generations": {
    sql: `INSERT INTO @.minipools_{regular} VALUES ('regular', 4, -1, NULL)`,
    found: ["error minipool_generation regular"],
  },
  "a last block that was lost": {
    sql: `DELETE FROM @.miniblocks_{regular}
      WHERE stream_id = 'regular' AND seq_num = 5`,
    found: ["error minipool_generation regular"],
  },
  "a hole in a minipool": {
    sql: `DELETE FROM @.minipools_{regular}
      WHERE stream_id = 'regular' AND slot_num = 1`,
    found: ["error minipool_hole regular"],
  },
  "a missing marker": {
    sql: `DELETE FROM @.minipools_{regular}
      WHERE stream_id = 'regular' AND slot_num = -1`,
    found: ["error minipool_hole regular"],
  },
  "a minipool that was lost": {
    sql: `DELETE FROM @.minipools_{regular} WHERE stream_id = 'regular'`,
    found: ["error minipool_hole regular"],
  },
  "a minipool that was lost before the first snapshot": {
    sql: `DELETE FROM @.minipools_{fresh} WHERE stream_id = 'fresh'`,
    found: ["error minipool_hole fresh"],
  },
  "an event without data": {
    sql: `UPDATE @.minipools_{regular} SET envelope = NULL
      WHERE stream_id = 'regular' AND slot_num = 2`,
    found: ["error minipool_hole regular"],
  },
  "a marker with data": {
    sql: `UPDATE @.minipools_{regular} SET envelope = 'event'
      WHERE stream_id = 'regular' AND slot_num = -1`,
    found: ["error minipool_hole regular"],
  },
  "an ephemeral stream with a minipool": {
    sql: `INSERT INTO @.minipools_{ephemeral}
      VALUES ('ephemeral', 4, -1, NULL)`,
    found: ["error minipool_unexpected ephemeral"],
  },
  "blocks of no stream": {
    sql: `INSERT INTO @.miniblocks_{nobody} VALUES ('nobody', 0, 'block')`,
    found: ["error orphan_blocks nobody"],
  },
  "events of no stream": {
    sql: `INSERT INTO @.minipools_{nobody} VALUES ('nobody', 1, -1, NULL)`,
    found: ["error orphan_minipool nobody"],
  },
  "candidates of no stream": {
    sql: `INSERT INTO @.miniblock_candidates_{nobody}
      VALUES ('nobody', 1, 'hash', 'block')`,
    found: ["error orphan_candidates nobody"],
  },
  "a stream that es has forgotten": {
    sql: `DELETE FROM @.es WHERE stream_id = 'regular'`,
    found: [
      "error orphan_blocks regular",
      "error orphan_candidates regular",
      "error orphan_minipool regular",
    ],
  },
  "a moved stream that es has forgotten": {
    sql: `DELETE FROM @.es WHERE stream_id = 'offloaded'`,
    found: [
      "error orphan_blocks offloaded",
      "error orphan_minipool offloaded",
    ],
  },
  "rows in another partition": {
    sql: `INSERT INTO @.miniblocks_m00 SELECT * FROM @.miniblocks_{regular}
      WHERE stream_id = 'regular'`,
    found: ["error wrong_partition regular"],
  },
  "candidates of stored blocks": {
    sql: `UPDATE @.miniblock_candidates_{regular} SET seq_num = 5
      WHERE stream_id = 'regular' AND seq_num = 6`,
    found: ["warning stale_candidates regular"],
  },
  "blocks in the database and outside": {
    sql: `UPDATE @.es SET blockdata_ext = 'D' WHERE stream_id = 'offloaded';
      INSERT INTO @.miniblocks_{offloaded}
        SELECT stream_id, seq_num, 'block' FROM @.miniblocks_ext_{offloaded}
        WHERE stream_id = 'offloaded'`,
    found: ["error location offloaded"],
  },
  "the same, said to be outside": {
    sql: `INSERT INTO @.miniblocks_{offloaded}
        SELECT stream_id, seq_num, 'block' FROM @.miniblocks_ext_{offloaded}
        WHERE stream_id = 'offloaded'`,
    found: ["error location offloaded"],
  },
  "blocks in neither": {
    sql: `DELETE FROM @.miniblocks_ext_{offloaded}
      WHERE stream_id = 'offloaded'`,
    found: ["error location offloaded"],
  },
  "places that do not fit": {
    sql: `UPDATE @.miniblocks_ext_{offloaded} SET start_byte = start_byte + 1
      WHERE stream_id = 'offloaded' AND seq_num = 2`,
    found: ["error location offloaded"],
  },
  "a place that was lost": {
    sql: `DELETE FROM @.miniblocks_ext_{offloaded}
      WHERE stream_id = 'offloaded' AND seq_num = 2`,
    found: ["error gap offloaded", "error location offloaded"],
  },
  "a column without its storage": {
    sql: `ALTER TABLE @.miniblocks_r01
      ALTER COLUMN blockdata SET STORAGE EXTENDED`,
    undo: `ALTER TABLE @.miniblocks_r01
      ALTER COLUMN blockdata SET STORAGE EXTERNAL`,
    found: ["error schema_drift miniblocks_r01"],
  },
  "a missing key": {
    sql: `ALTER TABLE @.minipools_m01 DROP CONSTRAINT minipools_m01_pkey`,
    undo: `ALTER TABLE @.minipools_m01
      ADD PRIMARY KEY (stream_id, generation, slot_num)`,
    found: ["error schema_drift minipools_m01"],
  },
  "a missing index": {
    sql: `DROP INDEX @.idx_es_ephemeral`,
    undo: `CREATE INDEX idx_es_ephemeral ON @.es (ephemeral)`,
    found: ["error schema_drift es"],
  },
  "missing tables": {
    isAlone: true,
    sql: `ALTER TABLE @.miniblock_candidates_m00 RENAME TO elsewhere;
      ALTER TABLE @.miniblocks_m01 RENAME TO elsewhere_too`,
    undo: `ALTER TABLE @.elsewhere RENAME TO miniblock_candidates_m00;
      ALTER TABLE @.elsewhere_too RENAME TO miniblocks_m01`,
    found: [
      "error schema_drift miniblock_candidates_m00",
      "error schema_drift miniblocks_m01",
    ],
  },
  "no deletion that goes on": {
    sql: `DELETE FROM @.es WHERE stream_id = 'regular';
      INSERT INTO @.stream_storage_deletions VALUES ('regular')`,
    undo: `DELETE FROM @.stream_storage_deletions`,
    found: [],
  },
  "no stream on its way back into the database": {
    sql: `INSERT INTO @.miniblocks_{offloaded}
        SELECT stream_id, seq_num, 'block' FROM @.miniblocks_ext_{offloaded}
        WHERE stream_id = 'offloaded' AND seq_num < 2;
      INSERT INTO @.stream_storage_media_tasks
        VALUES ('offloaded', 'offload')`,
    undo: `DELETE FROM @.stream_storage_media_tasks`,
    found: [],
  },
  "a column of another type": {
    sql: `ALTER TABLE @.es ALTER COLUMN ephemeral DROP NOT NULL`,
    undo: `ALTER TABLE @.es ALTER COLUMN ephemeral SET NOT NULL`,
    found: ["error schema_drift es"],
  },
  "tables beyond the partitions, and a row there": {
    sql: `CREATE TABLE @.miniblocks_r02 (LIKE @.miniblocks_r01 INCLUDING ALL);
      CREATE TABLE @.minipools_r02 (LIKE @.minipools_r01 INCLUDING ALL);
      CREATE TABLE @.miniblock_candidates_r02
        (LIKE @.miniblock_candidates_r01 INCLUDING ALL);
      INSERT INTO @.miniblocks_r02 SELECT * FROM @.miniblocks_{regular}
        WHERE stream_id = 'regular'`,
    undo: `DROP TABLE @.miniblocks_r02, @.minipools_r02,
      @.miniblock_candidates_r02`,
    found: ["error wrong_partition regular", "note extra_partition r02"],
  },
  "data that is no block": {
    level: "deep",
    sql: `UPDATE @.miniblocks_{regular} SET blockdata = 'garbage'
      WHERE stream_id = 'regular' AND seq_num = 4`,
    found: ["error undecodable_block regular"],
  },
  "a block that was cut": {
    level: "deep",
    sql: `UPDATE @.miniblocks_{another} SET
        blockdata = substr(blockdata, 1, octet_length(blockdata) - 1)
      WHERE stream_id = 'another' AND seq_num = 4`,
    found: ["error undecodable_block another"],
  },
  "a changed byte of an event": {
    level: "deep",
    // The byte after the hash, the signature and the event's head.
    sql: `UPDATE @.miniblocks_{noSnapshot}
      SET blockdata = set_byte(blockdata, 120, 255)
      WHERE stream_id = 'noSnapshot' AND seq_num = 2`,
    found: ["error hash_mismatch noSnapshot"],
  },
  "a changed byte of a stream of one block": {
    level: "deep",
    sql: `UPDATE @.miniblocks_{fresh}
      SET blockdata = set_byte(blockdata, 120, 255)
      WHERE stream_id = 'fresh'`,
    found: ["error hash_mismatch fresh"],
  },
  "a block of another chain": {
    level: "deep",
    sql: `UPDATE @.miniblocks_{regular} SET blockdata = (
        SELECT blockdata FROM @.miniblocks_{legacy}
        WHERE stream_id = 'legacy' AND seq_num = 2)
      WHERE stream_id = 'regular' AND seq_num = 2`,
    // The block does not follow the one before it, and the next one does not
    // follow the block.
    found: ["error broken_chain regular", "error broken_chain regular"],
  },
  "a block of another number": {
    level: "deep",
    sql: `UPDATE @.miniblocks_{archive} SET blockdata = (
        SELECT blockdata FROM @.miniblocks_{archive}
        WHERE stream_id = 'archive' AND seq_num = 3)
      WHERE stream_id = 'archive' AND seq_num = 4`,
    found: ["error broken_chain archive"],
  },
};

/**
 * The number of streams of each kind, so that much damage can be planted at
 * once.
 */
const copies = 6;

/** Damage to the streams of one copy. */
type Planted = Plant & { name: string; copy: number };

/**
 * Combines damage to different streams, so that one verification finds all of
 * it.
 */
function rounds(): Planted[][] {
  const made: { level: string; used: Set<string>; plants: Planted[] }[] = [];
  for (const [name, plant] of Object.entries(plants)) {
    const { sql, level = "structure", isAlone = false } = plant;
    const streams = [...sql.matchAll(/['{]([a-zA-Z]+)['}]/g)].map(([, id]) =>
      id
    );
    const add = (copy: number, { used, plants }: typeof made[number]) => {
      for (const id of streams) used.add(`${id} ${copy}`);
      plants.push({ name, copy, ...plant });
    };
    const isIn = made.some((round) => {
      if (isAlone || round.level !== level) return false;
      const copy = numbers(copies).find((copy) =>
        !streams.some((id) => round.used.has(`${id} ${copy}`))
      );
      if (copy !== undefined) add(copy, round);
      return copy !== undefined;
    });
    if (isIn) continue;
    const round = {
      level: isAlone ? name : level,
      used: new Set<string>(),
      plants: [],
    };
    add(0, round);
    made.push(round);
  }
  return made.map(({ plants }) => plants);
}

const numbers = (count: number) => [...Array(count).keys()];

describe("A verification", () => {
  let filled: FilledSchema;
  before(async () => {
    filled = await fillSchema(copies);
  });
  after(() => filled[Symbol.asyncDispose]());

  async function found(options: Partial<VerifyOptions> = {}): Promise<Short[]> {
    const { url, schema, copies } = filled;
    const findings = await Array.fromAsync(verify({ url, schema, ...options }));
    return findings.map((finding) => short(copies, finding)).sort();
  }

  /** The findings for each copy, in the form of `short`. */
  const ofEach = (shorts: Short[]) =>
    numbers(copies).flatMap((copy) =>
      shorts.map((short) => `${short} ${copy}`)
    );

  it("finds nothing in a healthy schema, at any level", async () => {
    const expected = ofEach(healthy).sort();
    assert.deepEqual(await found(), expected);
    assert.deepEqual(await found({ level: "deep" }), expected);
    const quick = ofEach(["note no_blocks unwritten"]);
    assert.deepEqual(await found({ level: "quick" }), quick);
  });

  it("finds nothing in a schema that one transaction restored", async () => {
    const tables = ["r00", "r01", "m00", "m01"].map((suffix) =>
      `UPDATE @.miniblocks_${suffix} SET seq_num = seq_num`
    );
    tables.push("UPDATE @.es SET migrated = migrated");
    await using alone = await fillSchema();
    // An archive stream alone has no neighbour that shows how it was made.
    for (const others of ["false", "stream_id <> 'archive'"]) {
      const sql = [...tables, `DELETE FROM @.es WHERE ${others}`].join(";");
      await alone.sql(sql);
      const { url, schema } = alone;
      const findings = await Array.fromAsync(verify({ url, schema }));
      assert.deepEqual(
        findings.filter(({ severity, finding }) =>
          severity === "error" && !finding.startsWith("orphan")
        ),
        [],
      );
    }
  });

  for (const plants of rounds()) {
    const names = plants.map(({ name }) => name);
    it(`finds only ${names.join(", ")}`, async () => {
      const expected = ofEach(healthy);
      try {
        for (const { sql, found, copy } of plants) {
          await filled.sql(sql, copy);
          expected.push(
            ...found.map((short) =>
              isOfSchema(short) ? short : `${short} ${copy}`
            ),
          );
        }
        const level = plants[0]!.level ?? "structure";
        assert.deepEqual(await found({ level }), expected.sort());
      } finally {
        for (const { undo } of plants) {
          if (undo !== undefined) await filled.sql(undo);
        }
        await filled.restore();
      }
    });
  }
});

const isOfSchema = (short: Short) => /schema_drift|extra_partition/.test(short);

/** `severity code stream copy`, or for the schema `severity code table`. */
function short(
  copies: readonly EveryKind[],
  { severity, finding, streamId, details }: Finding,
): Short {
  const begin = `${severity} ${finding}`;
  for (const [copy, ids] of copies.entries()) {
    const name = Object.entries(ids).find(([, id]) => id === streamId)?.[0];
    if (name !== undefined) return `${begin} ${name} ${copy}`;
  }
  return `${begin} ${details["table"] ?? details["suffix"]}`;
}
