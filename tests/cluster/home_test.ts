/**
 * Where a schema of a cluster lives, and how it is found when it was moved:
 * src/database/cluster/home.ts, against servers that say what a test wants.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refusedEra } from "../../src/database/cluster/guard.ts";
import { Home, type HomeChange } from "../../src/database/cluster/home.ts";
import {
  type ConnectionTarget,
  parseConnectionUrl,
} from "../../src/database/connection_target.ts";
import type { Address } from "../../src/database/current_server.ts";
import { toStorageError, verdictOf } from "../../src/database/failures.ts";
import { ConnectionLostError, PgError } from "../../src/database/pg_error.ts";
import type { Session } from "../../src/database/session.ts";
import type { Bound } from "../../src/database/statement.ts";

const schema = "store";
const target = parseConnectionUrl("postgresql://towns@given/towns");

/** The servers of a cluster, by their ports: the coordinator is 1. */
class ScriptedCluster {
  /** Which server each believes to have the schema; undefined: none has. */
  readonly beliefs = new Map<number, number | undefined>();
  readonly away = new Set<number>();
  /** Which servers were asked where the schema is. */
  readonly asked: number[] = [];
  shard = 102008n;
  /** Called with each question. */
  onAsked: (port: number) => void = () => {};

  constructor(home: number | undefined, ports = [1, 2, 3]) {
    for (const port of ports) this.beliefs.set(port, home);
  }

  /** All servers believe so. */
  set home(home: number | undefined) {
    for (const port of this.beliefs.keys()) this.beliefs.set(port, home);
  }

  readonly connect = ({ port }: Address): Promise<Session> => {
    if (this.away.has(port)) {
      return Promise.reject(new ConnectionLostError("It is away", false));
    }
    return Promise.resolve(this.session(port));
  };

  /** A session that answers what a home asks. */
  session(port: number): Session {
    const run = ([{ statement, values }]: readonly [Bound]) => {
      const isOfNodes = statement.text.includes("isactive");
      const rows = isOfNodes ? this.#nodes() : this.#shards(port, values);
      return Promise.resolve([{ rows, count: rows.length }]);
    };
    return {
      run,
      destroy: () => {},
      [Symbol.asyncDispose]: () => Promise.resolve(),
    } as unknown as Session;
  }

  #nodes(): unknown[][] {
    return [...this.beliefs.keys()].map((port) => ["node", port, port === 1]);
  }

  #shards(port: number, [, table]: readonly unknown[]): unknown[][] {
    this.asked.push(port);
    this.onAsked(port);
    const home = this.beliefs.get(port);
    if (home === undefined) return [];
    const names = ["singlenodekey", "es"].map((name, i) => [
      ...["node", home, home === port],
      this.shard + BigInt(i),
      name,
    ]);
    return names.filter(([, , , , name]) => table === null || table === name);
  }
}

interface Watched {
  home: Home;
  changes: HomeChange[];
  losses: number;
}

/** A home that was found to be at a server of the cluster. */
async function homeOf(
  cluster: ScriptedCluster,
  port: number,
): Promise<Watched> {
  const home = new Home({ schema, connect: cluster.connect });
  const watched: Watched = { home, changes: [], losses: 0 };
  home.listen({
    onLost: () => void watched.losses++,
    onMoved: (change) => void watched.changes.push(change),
  });
  assert.equal(await home.isKnownAt(cluster.session(port)), false);
  cluster.asked.length = 0;
  return watched;
}

/** Connects through the home; where that has led. */
async function placeOf(home: Home, make = (_: ConnectionTarget) => {}) {
  let place: Address | undefined;
  await home.connect(target, (at) => {
    make(at);
    place = at.hosts[0];
    return Promise.resolve({ destroy: () => {} } as unknown as Session);
  });
  return place;
}

function pgError(sqlState: string, message = ""): PgError {
  return new PgError(new Map([["C", sqlState], ["M", message]]), 0);
}

/** As the guard refuses. */
function refusal(era: number): PgError {
  const json = `{"reason" : "schema_moved", "era" : "${era}"}`;
  return pgError("22P02", `invalid input: "stream-storage:${json}"`);
}

const node = (port: number) => ({ host: "node", port });

describe("The home of a schema", () => {
  it("is where it was looked for, on a plain server", async () => {
    const cluster = new ScriptedCluster(undefined);
    const home = new Home({ schema, connect: cluster.connect });
    assert.equal(home.guard, undefined);
    assert.equal(home.table("es"), '"store"."es"');
    assert.deepEqual(home.channels, ["singlenodekey"]);
    assert.deepEqual(await placeOf(home), target.hosts[0]);
    // A plain schema in a database that has Citus.
    assert.equal(await home.isKnownAt(cluster.session(1)), true);
    assert.equal(home.guard, undefined);
    assert.deepEqual(home.coordinator, node(1));
    assert.equal(await home.isMoved(refusal(0)), false);
    assert.deepEqual(await placeOf(home), target.hosts[0]);
  });

  it("is found from any server, with the names of the shards", async () => {
    for (const port of [1, 2, 3]) {
      const cluster = new ScriptedCluster(2);
      const { home, losses } = await homeOf(cluster, port);
      assert.deepEqual(home.address, node(2));
      assert.equal(home.table("es"), '"store"."es_102009"');
      assert.equal(home.table("unknown"), '"store"."unknown"');
      assert.deepEqual(home.channels, [
        "singlenodekey",
        "singlenodekey_102008",
      ]);
      assert.equal(home.guard?.read.length, 1);
      assert.equal(home.guard?.write.length, 2);
      assert.deepEqual(await placeOf(home), node(2));
      assert.equal(await home.isKnownAt(cluster.session(2)), true);
      assert.equal(losses, 0);
    }
  });

  it("is reached under the address that the client has for it", async () => {
    const cluster = new ScriptedCluster(2);
    const home = new Home({
      schema,
      connect: cluster.connect,
      reach: ({ port }) => ({ host: "outside", port: port + 1000 }),
    });
    await home.isKnownAt(cluster.session(1));
    assert.deepEqual(await placeOf(home), { host: "outside", port: 1002 });
  });

  it("is another after a refusal, for all who connect", async () => {
    const cluster = new ScriptedCluster(2);
    const watched = await homeOf(cluster, 1);
    const { home } = watched;
    cluster.home = 3;
    assert.equal(await home.isMoved(refusal(0)), true);
    // Of the same era, and refused a little later.
    assert.equal(await home.isMoved(refusal(0)), true);
    assert.equal(watched.losses, 1);
    const places = await Promise.all([placeOf(home), placeOf(home)]);
    assert.deepEqual(places, [node(3), node(3)]);
    assert.deepEqual(cluster.asked, [2, 3], "once for all");
    const [{ from, to, lostMs }] = watched.changes as [HomeChange];
    assert.deepEqual([from, to], [node(2), node(3)]);
    assert.ok(lostMs >= 0);
    assert.equal(watched.changes.length, 1);
    // Very late.
    assert.equal(await home.isMoved(refusal(0)), true);
    assert.deepEqual([watched.losses, home.address], [1, node(3)]);
    assert.equal(await home.isMoved(refusal(1)), true);
    assert.equal(watched.losses, 2);
  });

  it("is where a server says so of itself, however long they disagree", async () => {
    const cluster = new ScriptedCluster(2);
    const { home } = await homeOf(cluster, 1);
    // The move has been committed at 2 and 1, not yet at 3.
    cluster.home = 3;
    cluster.beliefs.set(3, 2);
    cluster.onAsked = () => {
      if (cluster.asked.length > 5) cluster.home = 3;
    };
    home.lose();
    assert.deepEqual(await placeOf(home), node(3));
    assert.deepEqual(new Set(cluster.asked), new Set([2, 3]));
  });

  it("stays the same if only the refusal was wrong", async () => {
    const cluster = new ScriptedCluster(2);
    const watched = await homeOf(cluster, 1);
    watched.home.lose();
    assert.deepEqual(await placeOf(watched.home), node(2));
    assert.deepEqual([watched.losses, watched.changes.length], [1, 0]);
  });

  it("is asked of the others if its server is away", async () => {
    const cluster = new ScriptedCluster(2);
    const { home } = await homeOf(cluster, 1);
    cluster.home = 3;
    cluster.away.add(2);
    home.lose();
    assert.deepEqual(await placeOf(home), node(3));
    assert.deepEqual(cluster.asked, [1, 3]);
  });

  it("is asked of another server when it can't be reached", async () => {
    const cluster = new ScriptedCluster(2);
    const watched = await homeOf(cluster, 1);
    const { home } = watched;
    cluster.away.add(2);
    const fail = () =>
      placeOf(home, ({ hosts: [at] }) => {
        if (at!.port === 2) throw new ConnectionLostError("It is away", false);
      });
    const looked = Promise.withResolvers<void>();
    cluster.onAsked = () => void setTimeout(looked.resolve, 1);
    await assert.rejects(fail(), ConnectionLostError);
    await looked.promise;
    assert.equal(watched.losses, 0, "they name the same one");
    // It was given up for another.
    cluster.home = 3;
    await assert.rejects(fail(), ConnectionLostError);
    while (watched.losses === 0) {
      await new Promise((done) => setTimeout(done, 1));
    }
    assert.deepEqual(await fail(), node(3));
  });

  it("is lost until a server answers, which is no error for good", async () => {
    const cluster = new ScriptedCluster(2);
    const { home } = await homeOf(cluster, 1);
    cluster.home = 3;
    for (const port of [1, 2, 3]) cluster.away.add(port);
    home.lose();
    const error = await placeOf(home).then(() => undefined, (error) => error);
    assert.ok(error instanceof ConnectionLostError);
    assert.deepEqual([error.sent, verdictOf(error, "write")], [false, "retry"]);
    cluster.away.clear();
    assert.deepEqual(await placeOf(home), node(3));
  });

  it("has no use for a session that was made while it moved", async () => {
    const cluster = new ScriptedCluster(2);
    const { home } = await homeOf(cluster, 1);
    const destroyed: number[] = [];
    const made: number[] = [];
    const session = await home.connect(target, ({ hosts: [at] }) => {
      made.push(at!.port);
      if (made.length === 1) {
        cluster.home = 3;
        home.lose();
      }
      const destroy = () => void destroyed.push(at!.port);
      return Promise.resolve({ destroy, port: at!.port } as unknown as Session);
    });
    assert.deepEqual([made, destroyed], [[2, 3], [2]]);
    assert.equal((session as unknown as Address).port, 3);
  });

  it("is looked for when a table is gone, as of an old copy", async () => {
    const cluster = new ScriptedCluster(2);
    const watched = await homeOf(cluster, 1);
    const { home } = watched;
    const gone = pgError("42P01");
    assert.equal(
      await home.isMoved(gone),
      false,
      "it is here, the table is not",
    );
    cluster.home = 3;
    assert.equal(await home.isMoved(gone), true);
    assert.equal(watched.losses, 1);
    assert.equal(await home.isMoved(pgError("23505")), false);
    assert.equal(await home.isMoved(new Error("Something")), false);
  });

  it("is no home any more when the schema was distributed anew", async () => {
    const cluster = new ScriptedCluster(2);
    const { home } = await homeOf(cluster, 1);
    cluster.shard = 200_000n;
    home.lose();
    const error = await placeOf(home).then(() => undefined, toStorageError);
    assert.equal(error?.code, "BAD_CONFIG");
    assert.equal(error?.details.reason, "schema_redistributed");
    assert.equal(error?.retryable, false);
    cluster.home = undefined;
    await assert.rejects(placeOf(home), { code: "BAD_CONFIG" });
  });
});

describe("A refusal of the guard", () => {
  it("tells the era of the guard, and nothing else does", () => {
    assert.equal(refusedEra(refusal(7)), 7);
    const other = `"stream-storage:{"reason": "not_owner"}"`;
    assert.equal(refusedEra(pgError("22P02", other)), undefined);
    assert.equal(refusedEra(pgError("42P01")), undefined);
    assert.equal(refusedEra(new Error("schema_moved")), undefined);
  });
});
