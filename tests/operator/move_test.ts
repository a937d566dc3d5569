/**
 * Moves a store between the worker nodes of a cluster that is a stub: refusals,
 * progress, and the error of an interrupted move. tests/cluster/move_test.ts
 * moves on a real cluster.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Bound, Result } from "../../src/database/statement.ts";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import type { Queries } from "../../src/operator/cluster/cluster.ts";
import * as clusterSql from "../../src/operator/cluster/cluster_sql.ts";
import {
  moveSchema,
  selectIsCluster,
  selectMoveProgress,
  selectNodes,
  selectPlacements,
  selectSchemaExists,
  selectUnmovable,
} from "../../src/operator/cluster/cluster_sql.ts";
import {
  interruption,
  makeMove,
  type MoveProgress,
  type Mover,
  watchMove,
} from "../../src/operator/cluster/move_store.ts";
import {
  type MovePlan,
  planMove,
} from "../../src/operator/cluster/plan_move.ts";
import { moveStore } from "../../src/operator/mod.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  askWorker,
  shardFamilies,
} from "../../src/operator/status/status_sql.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { unqualifiedNames } from "../support/statement_names.ts";

type Rows = unknown[][];

/** A coordinator at "main" and the worker nodes a and b; a has the store. */
function clusterRows() {
  return new Map<unknown, Rows>([
    [selectIsCluster, [[true]]],
    [selectNodes, [
      [0, "main", 5432, true, false, true],
      [1, "a", 5432, true, true, false],
      [2, "b", 5432, true, true, false],
    ]],
    [selectPlacements, [["store", 1, 40n, 1000n]]],
    [selectSchemaExists, [[false]]],
    [selectUnmovable, [["es", false, false], ["singlenodekey", false, false]]],
  ]);
}

/** Answers with these rows, and records the queries. */
class Script implements Queries {
  readonly rows: Map<unknown, Rows>;
  readonly asked: Bound[] = [];

  constructor(changes: readonly (readonly [unknown, Rows])[] = []) {
    this.rows = new Map([...clusterRows(), ...changes]);
  }

  // deno-lint-ignore no-explicit-any -- the rows are as the statement has them
  run(bound: readonly Bound[]): Promise<any> {
    this.asked.push(...bound);
    return Promise.resolve(bound.map(({ statement }): Result => {
      const rows = this.rows.get(statement);
      assert.ok(rows, `Expected no ${statement.text}`);
      return { rows: rows as never[], count: rows.length };
    }));
  }
}

const wish = { schema: "store", to: "b:5432", mode: "logical" } as const;
const plan = (
  changes?: readonly (readonly [unknown, Rows])[],
  more: Partial<Parameters<typeof planMove>[1]> = {},
) => planMove(new Script(changes), { ...wish, ...more });

async function refusal(
  move: Promise<unknown>,
): Promise<Record<string, unknown> & { message: string }> {
  const error = await move.then(
    () => assert.fail("Expected a refusal"),
    (error) => error,
  );
  assert.ok(isStreamStorageError(error), String(error));
  return { ...error.details, code: error.code, message: error.message };
}

describe("A move is planned, and", () => {
  it("leads from the worker node that has the store to the named one", async () => {
    const { from, to, bytes } = await plan();
    assert.deepEqual([from.host, to.host, bytes], ["a", "b", 1000n]);
    assert.equal((await plan([], { to: "b" })).to.host, "b");
    const six: Rows = [
      [0, "main", 5432, true, false, true],
      [1, "a", 5432, true, true, false],
      [2, "fd00::2", 5432, true, true, false],
    ];
    const { to: other } = await plan([[selectNodes, six]], {
      to: "[fd00::2]:5432",
    });
    assert.equal(other.group, 2);
  });

  const nodes = (b: unknown[]): [unknown, Rows] => [selectNodes, [
    [0, "main", 5432, true, false, true],
    [1, "a", 5432, true, true, false],
    b,
  ]];
  const cases: [
    string,
    [unknown, Rows][],
    Partial<Parameters<typeof planMove>[1]>,
    RegExp,
  ][] = [
    ["not_a_cluster", [[selectIsCluster, [[false]]]], {}, /plain server/],
    [
      "not_the_coordinator",
      [[selectNodes, [
        [0, "main", 5432, true, false, false],
        [1, "a", 5432, true, true, true],
        [2, "b", 5432, true, true, false],
      ]]],
      {},
      /coordinator main:5432, found a worker/,
    ],
    ["unknown_worker", [], { to: "c:5432" }, /has a:5432, b:5432$/],
    [
      "unknown_worker",
      [nodes([2, "a", 5433, true, true, false])],
      { to: "a" },
      /found 2 such/,
    ],
    [
      "worker_not_active",
      [nodes([2, "b", 5432, false, true, false])],
      {},
      /citus_activate_node/,
    ],
    [
      "worker_takes_no_stores",
      [nodes([2, "b", 5432, true, false, false])],
      {},
      /shouldhaveshards/,
    ],
    ["already_there", [], { to: "a:5432" }, /is on a:5432 already/],
    ["schema_not_found", [], { schema: "none" }, /"none" does not exist/],
    [
      "schema_not_distributed",
      [[selectSchemaExists, [[true]]]],
      { schema: "plain" },
      /lives on the coordinator itself/,
    ],
    [
      "local_tables",
      [[selectUnmovable, [["es", false, false], [
        "miniblocks_r00",
        true,
        false,
      ]]]],
      {},
      /"miniblocks_r00" would stay/,
    ],
    [
      "no_replica_identity",
      [[selectUnmovable, [["es", false, false], [
        "singlenodekey",
        false,
        true,
      ]]]],
      {},
      /"singlenodekey" has no primary key/,
    ],
  ];
  for (const [reason, changes, more, text] of cases) {
    it(`is refused: ${reason}, ${text.source}`, async () => {
      const { message, ...details } = await refusal(plan(changes, more));
      assert.equal(details.reason, reason);
      assert.match(message, text);
    });
  }

  it("needs no replica identity when writes are blocked", async () => {
    const { mode } = await plan([
      [selectUnmovable, [["singlenodekey", false, true]]],
    ], { mode: "block-writes" });
    assert.equal(mode, "block-writes");
  });

  it("repeats no worker node that the cluster does not have", async () => {
    const secret = "postgresql://towns:HUNTER2@b/towns";
    const { message } = await refusal(plan([], { to: secret }));
    assert.ok(!message.includes("HUNTER2"));
  });

  it("is refused on a plain server, with advice", async () => {
    const { reason, code } = await refusal(
      moveStore({ url: await testDatabaseUrl(), schema: "any", to: "b:5432" }),
    );
    assert.deepEqual([reason, code], ["not_a_cluster", "BAD_CONFIG"]);
  });
});

/** A session for the move, which ends as the test wants. */
function mover(run: Mover["run"], end: Partial<Mover> = {}): Mover {
  return { run, usable: true, released: Promise.resolve(), ...end };
}

const planned = (): Promise<MovePlan> => plan();

describe("A move is made, and", () => {
  it("is one statement, whose every part is a parameter", async () => {
    const script = new Script([[moveSchema, [[""]]]]);
    for (const mode of ["logical", "block-writes"] as const) {
      const { seconds: _, ...report } = await makeMove(
        mover((bound) => script.run(bound)),
        { ...await planned(), mode },
      );
      assert.deepEqual(report, {
        schema: "store",
        from: "a:5432",
        to: "b:5432",
        mode,
        bytes: 1000n,
      });
    }
    assert.deepEqual(
      script.asked.map(({ statement, values }) => {
        assert.equal(statement, moveSchema);
        return values;
      }),
      [
        ["store", "b", 5432, "force_logical"],
        ["store", "b", 5432, "block_writes"],
      ],
    );
  });

  it("fails only after the server has released a lost connection", async () => {
    const released = Promise.withResolvers<void>();
    let isOver = false;
    const move = makeMove(
      mover(() => Promise.reject(new ConnectionLostError("Gone", true)), {
        usable: false,
        released: released.promise,
      }),
      await planned(),
    ).finally(() => isOver = true);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    assert.ok(!isOver);
    released.resolve();
    await assert.rejects(move, ConnectionLostError);
  });

  it("names the leftover copy that is in the way", async () => {
    const { reason, message, worker } = await refusal(
      makeMove(
        mover(() =>
          Promise.reject(
            new PgError(
              new Map([
                ["C", "XX000"],
                ["M", "shard move failed"],
                ["R", "ErrorIfCleanupRecordForShardExists"],
              ]),
              1,
            ),
          )
        ),
        await planned(),
      ),
    );
    assert.equal(reason, "leftover_of_move");
    assert.equal(worker, "b:5432");
    assert.match(message, /citus_cleanup_orphaned_resources/);
  });

  it("reports its progress until it has ended, even if the watcher fails", async () => {
    const end = Promise.withResolvers<void>();
    const received: MoveProgress[] = [];
    const answers: (Rows | Error)[] = [
      [[null, null, null]],
      new Error("The watcher has lost its connection"),
      [[1000n, 400n, "Copying Data"]],
    ];
    const script = new Script();
    await watchMove(
      {
        run: (bound) => {
          const answer = answers.shift();
          if (answer === undefined) return Promise.reject(new Error("Over"));
          if (answer instanceof Error) return Promise.reject(answer);
          script.rows.set(selectMoveProgress, answer);
          return script.run(bound);
        },
      },
      await planned(),
      end.promise,
      (progress) => {
        received.push(progress);
        end.resolve();
      },
    );
    assert.deepEqual(received, [{
      done: 400n,
      total: 1000n,
      step: "Copying Data",
    }]);
  });

  for (
    const [group, worker, isMoved] of [
      [1, "a:5432", false],
      [2, "b:5432", true],
    ] as const
  ) {
    it(`is stopped: the error says that the store is on ${worker}`, async () => {
      const script = new Script([
        [selectPlacements, [["store", group, 40n, 1000n]]],
      ]);
      const reason = new Error("Ctrl-C");
      const error = await interruption(script, await planned(), reason);
      assert.ok(isStreamStorageError(error, "CANCELED"));
      assert.equal(error.cause, reason);
      assert.deepEqual(
        [error.details.worker, error.details.isMoved],
        [worker, isMoved],
      );
    });
  }
});

it("The queries of a cluster qualify every name with its schema", () => {
  const texts = [...Object.values(clusterSql), askWorker].map(({ text }) =>
    text
  );
  for (const text of [...texts, shardFamilies]) {
    assert.deepEqual(unqualifiedNames(text), [], text);
  }
});
