/** `watch` samples a store at work, and shows it on a terminal. */
import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { after, before, describe, it } from "node:test";
import { displayWidth, paletteOf } from "../../src/cli/screen.ts";
import { frameOf } from "../../src/cli/watch_frame.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { WatchSample } from "../../src/operator/mod.ts";
import { watchStore } from "../../src/operator/mod.ts";
import { parseMetrics, readMetrics } from "../../src/operator/watch/metrics.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { prometheusText } from "../../src/telemetry/prometheus.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { commandOf, runCommand } from "../support/programs/command.ts";
import { queryOnce, testDatabaseUrl, uniqueName } from "../support/database.ts";
import { hasTmux, Tmux } from "../support/cli/tmux.ts";

const schema = uniqueName("watched");
let url: string;
let storage: Awaited<ReturnType<typeof openStreamStorage>>;
const busy = newStreamId();
let stop = false;
let working: Promise<void>;

/** Writes events and blocks until the end of the test. */
async function work(): Promise<void> {
  await storage.createStreamStorage(busy, {
    number: 0n,
    data: new Uint8Array([1]),
  });
  for (let number = 1n; !stop; number++) {
    for (let slot = 0; slot < 5; slot++) {
      await storage.writeEvent(busy, number, slot, new Uint8Array([2]));
    }
    await storage.writeMiniblocks(
      busy,
      [{ number, data: new Uint8Array([3]) }],
      { generation: number + 1n, envelopes: [] },
      { generation: number },
    );
    await storage.readStreamFromLastSnapshot(busy, 2);
    // Let other work run, too.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

before(async () => {
  url = await testDatabaseUrl();
  storage = await openStreamStorage({
    url,
    schema,
    partitions: 2,
    startupDelayMs: 0,
  });
  working = work();
});
after(async () => {
  stop = true;
  await working;
  await storage.close();
  await queryOnce(url, `DROP SCHEMA ${schema} CASCADE`);
});

/** Waits for a look that fits. */
async function look(
  fits: (sample: WatchSample) => boolean,
  options: Partial<Parameters<typeof watchStore>[0]> = {},
): Promise<WatchSample> {
  const looks = watchStore({ url, schema, intervalMs: 100, ...options });
  for await (const each of looks) {
    if (!("lost" in each) && fits(each)) return each;
  }
  throw new Error("It ended");
}

async function serving(
  answer: (response: ServerResponse) => void,
): Promise<{ address: string; server: Server } & AsyncDisposable> {
  const server = createServer((_, response) => answer(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}/metrics`,
    server,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("watchStore", () => {
  it("reports the owner and the busiest partitions", async () => {
    // A session of the server reports its counters once a second.
    const sample = await look(({ streams, rates }) =>
      streams.length > 0 && rates!.rowsWritten > 0 && rates!.commits > 0
    );
    assert.ok(sample.owner?.name, JSON.stringify(sample.owner));
    assert.equal(sample.isLocked, true);
    assert.equal(sample.streams[0]!.streamId, busy);
    assert.ok(sample.partitions[0]!.rowsWritten > 0);
    assert.ok(sample.states.length > 0);
  });

  it("shows a reader everything that its role may see", async () => {
    const role = uniqueName("watcher");
    await queryOnce(
      url,
      `CREATE ROLE ${role} LOGIN PASSWORD 'of-a-test';
       GRANT USAGE ON SCHEMA ${schema} TO ${role};
       GRANT SELECT ON ${schema}.es, ${schema}.settings,
         ${schema}.schema_migrations TO ${role}`,
    );
    try {
      const its = new URL(url);
      its.username = role;
      its.password = "of-a-test";
      const sample = await look(({ rates }) => rates !== null, {
        url: its.href,
      });
      assert.equal(sample.owner, undefined);
      assert.ok(sample.rates!.rowsWritten >= 0);
      assert.deepEqual(sample.streams, []);
    } finally {
      await queryOnce(url, `DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  it("reads the store's own metrics", async () => {
    await using metrics = await serving((response) =>
      response.end(prometheusText(storage))
    );
    const sample = await look(
      ({ store }) =>
        store !== undefined && "calls" in store && store.calls.length > 0,
      { metrics: metrics.address },
    );
    const store = sample.store as Exclude<
      WatchSample["store"],
      { unreachable: string } | undefined
    >;
    assert.equal(store.ownership, "owner");
    assert.equal(store.maxConnections > 0, true);
    assert.ok(store.calls.some(({ operation }) => operation === "writeEvent"));
  });

  it("continues after the server has ended its session", async () => {
    const looks = watchStore({ url, schema, intervalMs: 100 });
    let seen = 0;
    for await (const each of looks) {
      if ("lost" in each) continue;
      if (++seen === 1) {
        await queryOnce(
          url,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE application_name = 'stream-watch'`,
        );
      }
      if (seen === 3) break;
    }
    assert.equal(seen, 3);
  });

  it("refuses bad options, and repeats no address", async () => {
    for (
      const metrics of [
        "file:///etc/passwd",
        "http://user:HUNTER2@host/",
        "HUNTER2",
      ]
    ) {
      await assert.rejects(
        look(() => true, { metrics }),
        (error) =>
          isStreamStorageError(error, "INVALID_ARGUMENT") &&
          !error.message.includes("HUNTER2"),
      );
    }
    await assert.rejects(look(() => true, { intervalMs: 0 }));
  });

  it("ends when its signal aborts", async () => {
    await assert.rejects(
      look(() => false, { signal: AbortSignal.timeout(300) }),
      (error) => isStreamStorageError(error, "CANCELED"),
    );
  });
});

describe("metrics of another program", () => {
  it("are bounded in size", async () => {
    await using endless = await serving((response) => {
      response.on("error", () => {}); // it is left
      const more = () => {
        if (!response.destroyed && response.write("x".repeat(100_000))) {
          setImmediate(more);
        }
      };
      response.on("drain", more);
      more();
    });
    const found = await readMetrics(endless.address, undefined);
    assert.match(String(found), /at most 4000000 bytes|did not answer/);
  });

  it("are bounded in time", async () => {
    await using silent = await serving((response) => response.write("#"));
    assert.equal(
      await readMetrics(silent.address, undefined),
      "did not answer within 2 s",
    );
  });

  it("can't redirect the reader", async () => {
    await using other = await serving((response) => {
      response.writeHead(302, { location: "http://127.0.0.1:1/" }).end();
    });
    assert.equal(typeof await readMetrics(other.address, undefined), "string");
    await using missing = await serving((response) =>
      response.writeHead(404).end()
    );
    assert.equal(
      await readMetrics(missing.address, undefined),
      "answered with status 404",
    );
  });

  it("can't forge text on a screen", () => {
    const operation = 'db_operation_name="a\x1b[2J\u202eb"';
    const { metrics, calls } = parseMetrics([
      `db_client_operation_duration_seconds_count{${operation}} 3`,
      "stream_storage_write_queue_writes 1e999",
      "stream_storage_write_queue_writes -",
      'stream_storage_write_queue_writes{a="}"} 1',
      `stream_storage_write_queue_writes{a="${"x".repeat(3000)}"} 1`,
      "stream_storage_write_queue_writes 7",
      'stream_storage_ownership_status{stream_storage_ownership_state="\x1b]0;x\x07"} 1',
      ...Array.from(
        { length: 300 },
        (_, i) =>
          `db_client_operation_duration_seconds_count{db_operation_name="${i}"} 1`,
      ),
    ].join("\n"));
    assert.equal(metrics.queuedWrites, 7);
    assert.equal(metrics.ownership, "\\u{1b}]0;x\\u{7}");
    assert.equal([...calls.keys()][0], "a\\u{1b}[2J\\u{202e}b");
    assert.equal(calls.size, 100);
  });
});

describe("a frame of watch", () => {
  const long = "a\x1b[2Jb ".repeat(100);
  const sample: WatchSample = {
    at: "2026-11-30T12:00:00.000Z",
    seconds: 2,
    serverVersion: "18.4",
    isStandby: true,
    connections: 100_000,
    maxConnections: 100_000,
    owner: { name: long, info: long, since: long },
    isLocked: true,
    rates: {
      commits: 1e9,
      rollbacks: 1e9,
      rowsWritten: 1e9,
      rowsRead: 1e9,
      cacheHits: 0.999,
    },
    states: [{ name: long, sessions: 100_000 }],
    waits: [{ name: long, sessions: 100_000 }],
    longestTransaction: 1e9,
    partitions: [{ partition: "r00", rowsWritten: 1e9, rowsRead: 0.1 }],
    streams: [{ streamId: "a".repeat(64), events: 1e9, blocks: 0 }],
    store: {
      ownership: long,
      queuedWrites: 1e300,
      queuedBytes: 1e300,
      busySlots: 1,
      usedConnections: 1e300,
      maxConnections: 4,
      waiting: 1,
      calls: [{ operation: "o".repeat(300), perSecond: 3 }],
    },
  };
  const plain = paletteOf({ write: () => true });

  for (const width of [40, 80, 120]) {
    it(`is at most ${width} columns wide, whatever it shows`, () => {
      const style = { schema: long, width, colour: plain };
      for (
        const each of [sample, { ...sample, store: { unreachable: long } }]
      ) {
        const lines = frameOf(each, style);
        for (const line of lines) {
          assert.ok(displayWidth(line) <= width, `${line.length}: ${line}`);
          // deno-lint-ignore no-control-regex
          assert.doesNotMatch(line, /[\x00-\x1f]/);
        }
        assert.ok(lines.length > 15);
      }
    });
  }
});

describe("watch as a command", () => {
  it("prints one report of 80 columns without a terminal", async () => {
    const { code, stdout, stderr } = await runCommand(
      ["watch", "--schema", schema, "--interval", "1.5"],
      { url },
    ).ended;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Store +"watched_/);
    assert.match(stdout, /^Owner +\S+ \(lock held\)/m);
    assert.match(stdout, /^Partition +Rows written\/s/m);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(stdout, /\x1b/);
    const widest = Math.max(...stdout.split("\n").map(({ length }) => length));
    assert.ok(widest <= 80, stdout);
  });

  it("prints lines of JSON", async () => {
    const { code, stdout, stderr } = await runCommand(
      ["watch", "--schema", schema, "--interval=0.2", "--count=2", "--json"],
      { url },
    ).ended;
    assert.equal(code, 0, stderr);
    const looks = stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(looks.map(({ rates }) => rates !== null), [
      false,
      true,
      true,
    ]);
  });

  const terminal = hasTmux ? it : it.skip;

  for (const [columns, leaving] of [[80, "q"], [120, "C-c"]] as const) {
    terminal(
      `takes a terminal of ${columns} columns, and gives it back after ${leaving}`,
      async () => {
        await using tmux = await Tmux.start({ columns, rows: 24 }, {
          STREAM_STORAGE_URL: url,
        });
        const program = commandOf().map((word) => `'${word}'`).join(" ");
        await tmux.type(
          `echo "as it ""was"; ${program} watch --interval 0.2 ` +
            `--schema ${schema}; echo "ended ""with $?"`,
        );
        await tmux.press("Enter");
        const screen = await tmux.shows(/Stream in r0/);
        assert.match(screen, /^Every 0\.2 s; q leaves/);
        assert.doesNotMatch(screen, /as it was/);
        // A row that wraps would move the next one to a wrong place.
        const lines = screen.split("\n");
        assert.match(lines[2]!, /^Store /);
        assert.match(lines[3]!, /^Owner /);
        assert.match(lines[4]!, /^Server /);
        assert.match(lines[5]!, /^A second /);
        await tmux.resize(60, 12);
        await tmux.shows(/^Every 0\.2 s; q leaves\n\nStore (.*\n){8}/);
        await tmux.resize(columns, 24);
        await tmux.shows(/Stream in r0/);
        await tmux.press(leaving);
        const left = await tmux.shows(/ended with \d+/);
        assert.match(left, /as it was/);
        assert.doesNotMatch(left, /q leaves/);
        assert.match(left, leaving === "q" ? /with 0$/m : /with 130$/m);
      },
    );
  }
});
