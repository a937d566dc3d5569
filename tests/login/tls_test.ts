/**
 * TLS in each of libpq's modes, against two real servers: one without TLS, and
 * one with a certificate for localhost.
 */
import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import {
  chmod,
  chown,
  copyFile,
  mkdtemp,
  readFile,
  rm,
  stat,
} from "node:fs/promises";
import { type AddressInfo, createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import {
  parseConnectionUrl,
  type SslOptions,
} from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import type { Session } from "../../src/database/session.ts";
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../src/embedded/mod.ts";
import { checkUnread } from "../support/login/unread.ts";
import { untilSeen } from "../support/until.ts";

const fixture = (name: string) =>
  new URL(`../fixtures/tls/${name}`, import.meta.url);

function connect(
  url: string,
  host: string,
  ssl: SslOptions,
): Promise<Session> {
  const target = parseConnectionUrl(url);
  return connectSession(
    { ...target, hosts: [{ ...target.hosts[0]!, host }], ssl },
    {},
    { preparedStatements: false, answerTimeoutMs: 10_000 },
  );
}

/** Whether the session is encrypted, as the server sees it. */
async function isEncrypted(
  url: string,
  host: string,
  ssl: SslOptions,
): Promise<boolean> {
  await using session = await connect(url, host, ssl);
  const [row] = await session.script(
    "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
  );
  return row![0] === "t";
}

describe("TLS", () => {
  let dataDir: string;
  let plain: EmbeddedPostgres;
  let server: EmbeddedPostgres;
  let ca: string;
  let otherCa: string;

  before(async () => {
    ca = await readFile(fixture("ca.crt"), "utf8");
    otherCa = await readFile(fixture("other_ca.crt"), "utf8");
    const parent = await mkdtemp(join(tmpdir(), "stream-storage-tls-"));
    await chmod(parent, 0o755);
    dataDir = join(parent, "data");
    plain = await startEmbeddedPostgres();
    await (await startEmbeddedPostgres({ dataDir })).close();
    const { uid, gid } = await stat(dataDir);
    for (const name of ["server.crt", "server.key"]) {
      const path = join(dataDir, name);
      await copyFile(fixture(name), path);
      await chmod(path, 0o600);
      if (process.getuid?.() === 0) await chown(path, uid, gid);
    }
    server = await startEmbeddedPostgres({ dataDir, settings: { ssl: "on" } });
  });
  after(async () => {
    await plain?.close();
    await server?.close();
    await rm(join(dataDir, ".."), { recursive: true, force: true });
  });

  it("is not used under disable, even if the server offers it", async () => {
    const ssl: SslOptions = { mode: "disable" };
    assert.equal(await isEncrypted(server.url, "127.0.0.1", ssl), false);
  });

  it("is used under prefer if the server offers it", async () => {
    const ssl: SslOptions = { mode: "prefer" };
    assert.equal(await isEncrypted(server.url, "127.0.0.1", ssl), true);
    assert.equal(await isEncrypted(plain.url, "127.0.0.1", ssl), false);
  });

  it("is used under require, and a server without it is refused", async () => {
    const ssl: SslOptions = { mode: "require" };
    assert.equal(await isEncrypted(server.url, "127.0.0.1", ssl), true);
    await assert.rejects(isEncrypted(plain.url, "127.0.0.1", ssl));
  });

  it("needs a certificate of a known authority under verify-ca, for any host", async () => {
    const known: SslOptions = { mode: "verify-ca", ca };
    assert.equal(await isEncrypted(server.url, "127.0.0.1", known), true);
    const unknown: SslOptions = { mode: "verify-ca", ca: otherCa };
    await assert.rejects(isEncrypted(server.url, "127.0.0.1", unknown));
    await assert.rejects(
      isEncrypted(server.url, "127.0.0.1", { mode: "verify-ca" }),
    );
  });

  it("needs a certificate for the host's name, too, under verify-full", async () => {
    const ssl: SslOptions = { mode: "verify-full", ca };
    assert.equal(await isEncrypted(server.url, "localhost", ssl), true);
    await assert.rejects(isEncrypted(server.url, "127.0.0.1", ssl));
    await assert.rejects(
      isEncrypted(server.url, "localhost", { ...ssl, ca: otherCa }),
    );
  });

  it("also encrypts the cancel request of a call that was given up", async () => {
    const starts: number[] = [];
    const { port, hostname } = new URL(server.url);
    const proxy = createServer((client) => {
      const upstream = createConnection({ host: hostname, port: +port });
      for (const socket of [client, upstream]) socket.on("error", () => {});
      client.once("data", (chunk: Buffer) => starts.push(chunk.readInt32BE(4)));
      client.pipe(upstream).pipe(client);
      upstream.once("close", () => client.destroy());
      client.once("close", () => upstream.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const through = new URL(server.url);
    through.port = String((proxy.address() as AddressInfo).port);
    const session = await connect(through.href, "127.0.0.1", {
      mode: "require",
    });
    await using other = await connect(server.url, "127.0.0.1", {
      mode: "require",
    });
    const isAtWork = async () => {
      const rows = await other.script(
        `SELECT FROM pg_stat_activity
         WHERE pid = ${session.processId} AND query LIKE '%pg_sleep%'`,
      );
      return rows.length > 0;
    };
    const answer = assert.rejects(session.script("SELECT pg_sleep(600)"));
    await untilSeen(isAtWork);
    session.giveUp("Enough");
    await answer;
    await session.released;
    await untilSeen(async () => !await isAtWork());
    const sslRequest = 80877103;
    assert.ok(starts.length >= 2);
    assert.ok(starts.every((code) => code === sslRequest), String(starts));
    await new Promise((resolve) => proxy.close(resolve));
  });

  it("delivers data unchanged that has to wait for the network", async () => {
    const ssl: SslOptions = { mode: "require" };
    await using session = await connect(server.url, "127.0.0.1", ssl);
    await using holder = await connect(server.url, "127.0.0.1", ssl);
    await checkUnread(session, holder);
  });
});
