/**
 * Attacks on the real embedded server: by the user who runs it for root, by users
 * who own a folder on the path, by everybody who can see processes and files, and
 * by the settings of an old data directory.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { locateBinaries } from "../../src/embedded/binaries.ts";
import {
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "../../src/embedded/mod.ts";
import {
  chooseServerUser,
  runAs,
  type ServerUser,
} from "../../src/embedded/server_user.ts";
import { usableBinaries } from "../../src/embedded/usable_binaries.ts";
import { queryOnce } from "../support/database.ts";
import { ProcessSweep } from "../support/embedded/process_sweep.ts";
import { memoryDirectory } from "../support/memory_directory.ts";

const isRoot = process.geteuid?.() === 0;
const needsRoot = { skip: isRoot ? false : "needs root" };
const needsProc = {
  skip: existsSync("/proc/self/cmdline") ? false : "needs /proc",
};
/** A user who runs nothing here. */
const strangerId = 54_321;
const canaryText = "what only root may read\n";

let base: string;
/** Where servers keep their temporary files. */
let tmp: string;
/** A file and a directory that only root can read. */
let canary: string;
let canaryDir: string;
let serverUser: ServerUser;
const previousTmp = process.env.TMPDIR;

describe("The embedded server withstands", () => {
  before(async () => {
    // The server's user may have no access to the tests' TMPDIR.
    base = await fs.mkdtemp(
      join(memoryDirectory() ?? "/tmp", "embedded-attack-"),
    );
    tmp = join(base, "tmp");
    canary = join(base, "canary");
    canaryDir = join(base, "canaries");
    await fs.chmod(base, 0o755);
    await fs.mkdir(tmp);
    await fs.chmod(tmp, 0o1777);
    await fs.writeFile(canary, canaryText, { mode: 0o600 });
    await fs.mkdir(canaryDir, { mode: 0o700 });
    process.env.TMPDIR = tmp;
    serverUser = await chooseServerUser();
  });

  after(async () => {
    if (previousTmp === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = previousTmp;
    await fs.rm(base, { recursive: true, force: true });
  });

  describe("the server's user:", serverUserTests);
  describe("the owner of a folder on the path:", strangerTests);
  describe("a user who watches processes and files:", readerTests);
  describe("an old data directory:", oldDataTests);
});

function serverUserTests(): void {
  it(
    "a link in the data directory shows no file of root",
    needsRoot,
    async () => {
      const dataDir = join(base, "links");
      await (await startEmbeddedPostgres({ dataDir })).close();
      for (const name of plantedNames) {
        await asServerUser('cd "$1" && mv "$2" kept 2>&-; ln -s "$3" "$2"', [
          dataDir,
          name,
          canary,
        ]);
        await assertNoHarm({ dataDir });
        await asServerUser(
          'cd "$1" && rm -rf "$2" && { [ ! -e kept ] || mv kept "$2"; }',
          [dataDir, name],
        );
      }
      await assertStarts({ dataDir });
    },
  );

  it("a link instead of the data directory is refused", needsRoot, async () => {
    const folder = await folderOf(serverUser!.uid, "link to root's");
    const dataDir = join(folder, "data");
    await asServerUser('ln -s "$1" "$2"', [canaryDir, dataDir]);
    const message = await assertNoHarm({ dataDir });
    assert.match(message, /it must belong to user \d+/);
  });

  it(
    "links that appear during a start lead root nowhere",
    needsRoot,
    async () => {
      const dataDir = join(base, "raced");
      const attacker = plantLinks([`${tmp}/*`, dataDir]);
      try {
        for (let round = 0; round < 3; round++) {
          await assertNoHarm({ dataDir });
          await assertNoHarm({});
        }
      } finally {
        await end(attacker);
      }
    },
  );

  it(
    "the server's copy of unreadable binaries belongs to root",
    needsRoot,
    async () => {
      const closed = join(base, "closed");
      await fs.mkdir(closed, { mode: 0o700 });
      const native = join(closed, "native");
      await fs.cp(await locateBinaries(), native, { recursive: true });
      const binaries = await usableBinaries(native, serverUser, tmp);
      const copy = binaries.native;
      try {
        assert.notEqual(copy, native);
        for (const name of await fs.readdir(copy, { recursive: true })) {
          const { uid, mode } = await fs.lstat(join(copy, name));
          assert.equal(uid, 0, name);
          const isLink = (mode & 0o170000) === 0o120000;
          assert.equal(isLink ? 0 : mode & 0o022, 0, name);
        }
        const script =
          'touch "$1/x" 2>&- && exit 1; "$1/bin/postgres" --version';
        assert.match(await asServerUser(script, [copy]), /^postgres/);
      } finally {
        await binaries.release();
      }
      assert.equal(existsSync(copy), false);
    },
  );

  it("a folder of that user can still hold new data", needsRoot, async () => {
    const folder = await folderOf(serverUser!.uid, "its own");
    const dataDir = join(folder, "deep", "data");
    await assertStarts({ dataDir });
    assert.equal((await fs.stat(dataDir)).uid, serverUser!.uid);
  });
}

function strangerTests(): void {
  it("root makes nothing in another user's folder", needsRoot, async () => {
    const folder = await folderOf(strangerId, "stranger's");
    const dataDir = join(folder, "data");
    const message = await assertNoHarm({ dataDir });
    assert.match(message, new RegExp(`user ${strangerId} owns ${folder}`));
    assert.deepEqual(await fs.readdir(folder), []);
  });

  it("root accepts no data directory of another user", needsRoot, async () => {
    const dataDir = await folderOf(strangerId, "stranger's data");
    const message = await assertNoHarm({ dataDir });
    assert.match(
      message,
      new RegExp(`it must belong to user .*belongs to user ${strangerId}$`),
    );
    assert.equal((await fs.stat(dataDir)).uid, strangerId);
  });

  it(
    "a temporary folder that other users can change is not used",
    needsRoot,
    async () => {
      for (const [uid, mode] of [[strangerId, 0o1777], [0, 0o777]] as const) {
        const folder = await folderOf(uid, `temporary of ${uid}`);
        await fs.chmod(folder, mode);
        process.env.TMPDIR = folder;
        try {
          await using server = await startEmbeddedPostgres();
          assert.deepEqual(await fs.readdir(folder), []);
          assert.equal((await queryOnce(server.url, "SELECT 1")).length, 1);
        } finally {
          process.env.TMPDIR = tmp;
        }
      }
    },
  );

  it("a link that belongs to root is followed", needsRoot, async () => {
    const real = join(base, "real");
    await fs.mkdir(real);
    await fs.symlink("real", join(base, "link"));
    await assertStarts({ dataDir: join(base, "link") });
    await assertStarts({ dataDir: join(base, "link") });
    assert.equal((await fs.stat(real)).uid, serverUser!.uid);
    assert.equal((await fs.lstat(join(base, "link"))).uid, 0);
  });
}

function readerTests(): void {
  const secret = "s3cret with 'quotes', \\slashes\\ and\nlines";
  const settings = { "my.secret": secret, work_mem: "5MB" };
  /** Parts of the secret, of which none may be seen. */
  const traces = ["s3cret", "slashes"];

  it("no process shows a setting or the password", needsProc, async () => {
    const dataDir = join(base, "swept");
    let initdbs = 0;
    for (const place of [{}, { dataDir }, { dataDir }]) {
      const sweep = new ProcessSweep();
      await using server = await startEmbeddedPostgres({ settings, ...place });
      const [row] = await queryOnce(
        server.url,
        "SELECT current_setting('my.secret') AS secret",
      );
      assert.equal(row?.secret, secret);
      const seen = await sweep.end();
      const ours = seen.filter((text) => text.includes(base));
      if (ours.some((text) => text.includes("/bin/initdb\0"))) initdbs++;
      const { password } = new URL(server.url);
      for (const trace of [...traces, password]) {
        assert.equal(seen.find((text) => text.includes(trace)), undefined);
      }
    }
    assert.equal(initdbs, 2, "Expected the sweep to see each initdb");
  });

  it("only their owner can read files with secrets, and none holds the password", async () => {
    await using server = await startEmbeddedPostgres({ settings });
    const [name = ""] = await fs.readdir(tmp);
    const run = join(tmp, name);
    assert.equal((await fs.stat(run)).mode & 0o7777, 0o700);
    assert.equal((await fs.stat(join(run, "data"))).mode & 0o7777, 0o700);
    const { password } = new URL(server.url);
    let holders = 0;
    for (const path of await filesIn(run)) {
      const text = await fs.readFile(path, "latin1");
      assert.equal(text.includes(password), false, path);
      if (!text.includes("s3cret")) continue;
      holders++;
      assert.equal((await fs.stat(path)).mode & 0o7777, 0o600, path);
    }
    assert.equal(holders, 1);
  });

  it("no error quotes a setting", async () => {
    for (
      const bad of [
        { work_mem: "hush" },
        { work_mem: "hush hush, 'very' hush" },
        { log_destination: "stderr, hush" },
        { DateStyle: "iso, hush" },
        { ssl: "on", ssl_cert_file: "/hush/hush.crt" },
        { shared_preload_libraries: "hush" },
        { "hush.a.b": "hush" },
      ] as Record<string, string>[]
    ) {
      const settings = { ...bad, "my.secret": "hush\nhush" };
      const error: unknown = await startEmbeddedPostgres({ settings })
        .then((server) => server.close(), (error) => error);
      assert.ok(error instanceof Error, JSON.stringify(bad));
      const { details } = error as unknown as { details: unknown };
      const shown = error.message + JSON.stringify(details);
      const names = Object.keys(bad).join();
      assert.equal(shown.replaceAll(names, "").includes("hush"), false, shown);
    }
    for (const name of ["include", "include_dir", "include_if_exists"]) {
      await assert.rejects(
        startEmbeddedPostgres({ settings: { [name]: canary } }),
        /belongs to the embedded server/,
      );
    }
  });
}

function oldDataTests(): void {
  it("its pg_hba.conf and ALTER SYSTEM open no access", async () => {
    const dataDir = join(base, "trusting");
    const first = await startEmbeddedPostgres({ dataDir });
    const access = join(dataDir, "pg_hba.conf");
    for (
      const statement of [
        "ALTER SYSTEM SET listen_addresses = '*'",
        `ALTER SYSTEM SET hba_file = '${access}'`,
        "ALTER SYSTEM SET unix_socket_directories = '/tmp'",
        `COPY (SELECT 'host all all all trust') TO '${access}'`,
      ]
    ) await queryOnce(first.url, statement);
    await first.close();
    await using server = await startEmbeddedPostgres({ dataDir });
    await assertLocked(server.url, new URL(first.url).password);
    const [row] = await queryOnce(
      server.url,
      "SELECT current_setting('listen_addresses') AS addresses, " +
        "current_setting('unix_socket_directories') AS sockets",
    );
    assert.deepEqual(row, { addresses: "127.0.0.1", sockets: "" });
    assert.equal(await fs.readFile(access, "utf8"), "host all all all trust\n");
  });

  it("its log shows no password", async () => {
    const dataDir = join(base, "logging");
    const first = await startEmbeddedPostgres({ dataDir });
    for (
      const setting of [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_min_error_statement = debug5",
        "debug_print_parse = on",
        "logging_collector = on",
        "log_destination = 'stderr,csvlog'",
      ]
    ) await queryOnce(first.url, `ALTER SYSTEM SET ${setting}`);
    await first.close();
    await using server = await startEmbeddedPostgres({ dataDir });
    const { password } = new URL(server.url);
    const paths = [...await filesIn(dataDir), ...await filesIn(tmp)];
    assert.ok(paths.some((path) => path.endsWith(".csv")), "Expected a log");
    for (const path of paths) {
      const text = await fs.readFile(path, "latin1");
      assert.equal(text.includes(password), false, path);
      if (/\.(log|csv)$|\/log$/.test(path)) {
        assert.doesNotMatch(text, /ALTER ROLE|SCRAM-SHA-256/, path);
      }
    }
  });
}

/** Files that the server's user could replace with links. */
const plantedNames = [
  "PG_VERSION",
  "postmaster.pid",
  "postmaster.opts",
  "pg_hba.conf",
  "pg_ident.conf",
  "postgresql.conf",
  "postgresql.auto.conf",
  "base",
];

/** Runs a script, which must succeed, as the server's user. */
async function asServerUser(
  script: string,
  parameters: string[],
): Promise<string> {
  const answer = await runAs(serverUser, script, ...parameters);
  assert.ok(answer.ok, `${script}: ${answer.complaints}`);
  return answer.output;
}

/** Puts links to root's file and directory into the directories all the time. */
function plantLinks(directories: string[]): ChildProcess {
  const script = `
    file=$1 dir=$2
    shift 2
    while :; do
      for at in ${
    directories.map((path) => path.replaceAll(" ", "\\ ")).join(" ")
  }; do
        [ -d "$at" ] || continue
        for name in log server.pid ended accepted verifier password statement \\
          settings.conf server.conf postmaster.pid PG_VERSION; do
          ln -sf "$file" "$at/$name"
        done
        for name in native lib; do
          rm -rf "$at/$name" && ln -s "$dir" "$at/$name"
        done
      done
    done 2>&-`;
  return spawn("/bin/sh", ["-c", script, "attacker", canary, canaryDir], {
    ...serverUser,
    cwd: "/",
    stdio: "ignore",
  });
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function folderOf(uid: number, name: string): Promise<string> {
  const folder = join(base, name);
  await fs.mkdir(folder);
  await fs.chown(folder, uid, uid);
  return folder;
}

/** Tries to start a server, and checks root's file and directory afterwards. */
async function assertNoHarm(options: EmbeddedPostgresOptions): Promise<string> {
  let message = "";
  try {
    await (await startEmbeddedPostgres(options)).close();
  } catch (error) {
    assert.ok(error instanceof Error);
    const { details } = error as unknown as { details: unknown };
    message = error.message;
    assert.equal(
      (message + JSON.stringify(details)).includes(canaryText.trim()),
      false,
      message,
    );
  }
  assert.equal(await fs.readFile(canary, "utf8"), canaryText);
  for (const [path, mode] of [[canary, 0o600], [canaryDir, 0o700]] as const) {
    const found = await fs.lstat(path);
    assert.deepEqual(
      { uid: found.uid, gid: found.gid, mode: found.mode & 0o7777 },
      { uid: 0, gid: 0, mode },
    );
  }
  assert.deepEqual(await fs.readdir(canaryDir), []);
  return message;
}

async function assertStarts(options: EmbeddedPostgresOptions): Promise<void> {
  await using server = await startEmbeddedPostgres(options);
  assert.equal((await queryOnce(server.url, "SELECT 1")).length, 1);
}

/** Checks that wrong passwords are refused. */
async function assertLocked(url: string, oldPassword: string): Promise<void> {
  for (const password of [oldPassword, "wrong"]) {
    const wrong = new URL(url);
    wrong.password = password;
    await assert.rejects(
      queryOnce(wrong.href, "SELECT 1"),
      /password authentication failed/,
    );
  }
}

async function filesIn(dir: string): Promise<string[]> {
  const entries = await fs.readdir(dir, {
    recursive: true,
    withFileTypes: true,
  });
  return entries.filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
