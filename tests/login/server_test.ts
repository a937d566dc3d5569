/**
 * The login to a real server, by each method, with TLS and without, and through
 * a middleman who ends TLS with a certificate of his own.
 */
import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { createServer, type TLSSocket } from "node:tls";
import {
  type ConnectionTarget,
  parseConnectionUrl,
} from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { toStorageError } from "../../src/database/failures.ts";
import { Line } from "../../src/database/login/line.ts";
import type { Session } from "../../src/database/session.ts";
import type { StreamStorageError } from "../../src/storage/errors.ts";
import type { EmbeddedPostgres } from "../../src/embedded/mod.ts";
import {
  rolePassword,
  startLoginCluster,
  tlsFixture,
} from "../support/login/cluster.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { testSession } from "../support/sessions.ts";

const options = {
  preparedStatements: false,
  answerTimeoutMs: 10_000,
};

let server: EmbeddedPostgres;
before(async () => {
  server = await startLoginCluster();
});
after(() => server?.close());

function connect(
  user: string,
  query = "",
  changes: Partial<ConnectionTarget> = {},
): Promise<Session> {
  const { port } = parseConnectionUrl(server.url).hosts[0]!;
  const url =
    `postgresql://${user}:${rolePassword}@127.0.0.1:${port}/postgres?${query}`;
  const target = { ...parseConnectionUrl(url), ...changes };
  return connectSession(target, {}, options);
}

/** Whether the server sees the session as encrypted; the session must work. */
async function isEncrypted(...to: Parameters<typeof connect>) {
  await using session = await connect(...to);
  const [row] = await session.script(
    `SELECT ssl, pid = ${session.processId}, current_user FROM pg_stat_ssl
     WHERE pid = pg_backend_pid()`,
  );
  assert.deepEqual(row!.slice(1), ["t", to[0]]);
  assert.ok(session.secretKey.length >= 4);
  return row![0] === "t";
}

/** Why the login fails: the reason of a BAD_CONFIG error. */
async function reasonOf(...to: Parameters<typeof connect>): Promise<unknown> {
  return (await refusalOf(...to)).details.reason;
}

async function refusalOf(
  ...to: Parameters<typeof connect>
): Promise<StreamStorageError> {
  const error = await connect(...to).then(
    async (session) => {
      await session.close();
      return assert.fail("Expected no session");
    },
    (error) => toStorageError(error),
  );
  assert.equal(error.code, "BAD_CONFIG", error.message);
  assert.equal(error.retryable, false);
  assert.ok(!error.message.includes(rolePassword));
  return error;
}

describe("A login to a real server", () => {
  for (const user of ["by_trust", "by_password", "by_md5", "by_scram"]) {
    it(`as ${user} succeeds with TLS and without`, async () => {
      assert.equal(await isEncrypted(user), true);
      assert.equal(await isEncrypted(user, "sslmode=require"), true);
      assert.equal(await isEncrypted(user, "sslmode=disable"), false);
      if (user === "by_trust") return;
      const wrong = { password: "falsch" };
      assert.equal(await reasonOf(user, "", wrong), "login_refused");
      assert.equal(
        await reasonOf(user, "", { password: "" }),
        "login_incomplete",
      );
    });
  }

  it("succeeds with a client certificate that the server trusts, and with no other", async () => {
    const [cert, key] = ["client.crt", "client.key"].map(tlsFixture);
    const with_ = (cert: string, key: string) =>
      "sslmode=require&sslcert=" + encodeURIComponent(cert) +
      "&sslkey=" + encodeURIComponent(key);
    assert.equal(await isEncrypted("by_cert", with_(cert!, key!)), true);
    assert.equal(
      await reasonOf("by_cert", "sslmode=require"),
      "login_refused",
    );
    const unknown = ["server.crt", "server.key"].map(tlsFixture);
    assert.equal(
      await reasonOf("by_cert", with_(unknown[0]!, unknown[1]!)),
      "tls_failed",
    );
  });

  it("under prefer goes without TLS if pg_hba.conf rejects TLS", async () => {
    assert.equal(await isEncrypted("only_plain"), false);
    assert.equal(
      await reasonOf("only_plain", "sslmode=require"),
      "login_refused",
    );
    assert.equal(await reasonOf("refused"), "login_refused");
  });

  it("under require checks the certificate if it has an authority", async () => {
    const ca = (name: string) =>
      `sslmode=require&sslrootcert=${encodeURIComponent(tlsFixture(name))}`;
    assert.equal(await isEncrypted("by_scram", ca("ca.crt")), true);
    assert.equal(await reasonOf("by_scram", ca("other_ca.crt")), "tls_failed");
  });

  it("can begin with TLS at once", async () => {
    const direct = "sslmode=require&sslnegotiation=direct";
    assert.equal(await isEncrypted("by_scram", direct), true);
  });

  it("honours require_auth and channel_binding", async () => {
    const refused = "authentication_refused";
    const bound = "sslmode=require&channel_binding=require";
    assert.equal(await isEncrypted("by_scram", bound), true);
    for (const user of ["by_trust", "by_password", "by_md5"]) {
      assert.equal(await reasonOf(user, bound), refused);
      assert.equal(
        await reasonOf(user, "require_auth=scram-sha-256"),
        refused,
      );
    }
    assert.equal(
      await reasonOf("by_scram", "sslmode=disable&channel_binding=require"),
      refused,
    );
    assert.equal(
      await isEncrypted("by_scram", "require_auth=scram-sha-256"),
      true,
    );
  });

  it("that can't succeed says what to change", async () => {
    const [plain] = parseConnectionUrl(await testDatabaseUrl()).hosts;
    const ca = (name: string) =>
      `&sslrootcert=${encodeURIComponent(tlsFixture(name))}`;
    const cases: [Parameters<typeof connect>, RegExp][] = [
      [["by_scram", "sslmode=require", { hosts: [plain!] }], /ssl = on/],
      [["by_scram", `sslmode=verify-ca${ca("other_ca.crt")}`], /sslrootcert/],
      [["by_scram", `sslmode=verify-full${ca("ca.crt")}`], /certificate/],
      [["by_scram", `sslmode=verify-ca${ca("none.crt")}`], /sslrootcert/],
      [["by_scram", "", { password: "" }], /there is none/],
      [["by_scram", "", { password: "falsch" }], /password authentication/],
      [
        ["by_scram", "", { password: () => "" }],
        /`password` returned an empty/,
      ],
      [["by_trust", "require_auth=scram-sha-256"], /require_auth/],
      [["by_scram", "sslmode=disable&channel_binding=require"], /sslmode/],
      [["refused"], /pg_hba\.conf/],
      [["only_plain", "sslmode=require"], /pg_hba\.conf/],
      [["by_cert", "sslmode=require"], /valid client certificate/],
      [["nobody_there"], /pg_hba\.conf|does not exist/],
      [["by_scram", "", { database: "nowhere" }], /"nowhere" does not exist/],
    ];
    for (const [to, advice] of cases) {
      const { message } = await refusalOf(...to);
      assert.match(message, advice);
    }
  });

  it("passes options on, and is refused if the server can't apply one", async () => {
    const wanted = "options=" + encodeURIComponent("-c work_mem=5MB -c a.b=x");
    await using session = await connect("by_scram", wanted);
    const [row] = await session.script(
      "SELECT current_setting('work_mem'), current_setting('a.b')",
    );
    assert.deepEqual(row, ["5MB", "x"]);
    for (const bad of ["-c role=nobody_there", "-c nonsense=1"]) {
      assert.equal(
        await reasonOf("by_scram", `options=${encodeURIComponent(bad)}`),
        "login_refused",
      );
    }
  });

  it("hashes a password as the server does, whatever its characters", async () => {
    await using admin = await testSession({ url: server.url });
    await admin.script("SET password_encryption = 'scram-sha-256'");
    const passwords = [
      "p@ss/w:rd?#%+ ",
      "IX\u2168\u00ad",
      "a\u00a0b\u3000c",
      "\ufb01ne",
      "\u0627\u0628",
      "\u0627a\u2168",
      "\u{1f600} emoji",
      "\u2168\u200e",
      "e\u0301 \u1e9b\u0323",
    ];
    for (const password of passwords) {
      await admin.script(
        `ALTER ROLE by_scram PASSWORD '${password.replaceAll("'", "''")}'`,
      );
      assert.equal(await isEncrypted("by_scram", "", { password }), true);
    }
    await admin.script(`ALTER ROLE by_scram PASSWORD '${rolePassword}'`);
  });

  it("works with 600 000 iterations of SCRAM", async () => {
    await using admin = await testSession({ url: server.url });
    const setPassword = `ALTER ROLE by_scram PASSWORD '${rolePassword}'`;
    const set = (n: number) => admin.script(`SET scram_iterations = ${n}`);
    await admin.script("SET password_encryption = 'scram-sha-256'");
    await set(600_000);
    await admin.script(setPassword);
    assert.equal(await isEncrypted("by_scram"), true);
    await set(4096);
    await admin.script(setPassword);
  });
});

/**
 * Ends TLS with a certificate of his own, and relays everything over a second
 * TLS connection; `change` may alter the server's bytes.
 */
async function startMiddleman(
  change: (bytes: Buffer) => Buffer = (bytes) => bytes,
): Promise<AsyncDisposable & { port: number }> {
  const [cert, key] = await Promise.all(
    ["client.crt", "client.key"].map((name) => readFile(tlsFixture(name))),
  );
  const target = parseConnectionUrl(server.url).hosts[0]!;
  const lines = new Set<Line>();
  const middleman = createServer(
    { cert, key, ALPNProtocols: ["postgresql"] },
    (client: TLSSocket) => {
      const line = new Line("tls");
      lines.add(line);
      client.on("error", () => {});
      client.pause();
      line.onLost(() => client.destroy());
      client.on("close", () => line.destroy(new Error("The client has gone")));
      const relay = async () => {
        await line.connect(target, undefined);
        await line.encrypt(
          { mode: "require", negotiation: "direct", pem: {} },
          target.host,
        );
        line.receive((chunk) => void client.write(change(chunk)));
        client.on("data", (chunk: Buffer) => line.send(chunk));
        client.resume();
      };
      relay().catch(() => client.destroy());
    },
  );
  middleman.listen(0, "127.0.0.1");
  await once(middleman, "listening");
  return {
    port: (middleman.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const line of lines) line.destroy(new Error("The test is over"));
      middleman.close();
      await once(middleman, "close");
    },
  };
}

describe("A middleman with a certificate of his own", () => {
  const query = "sslmode=require&sslnegotiation=direct&channel_binding=";
  const through = (port: number) => ({ hosts: [{ host: "127.0.0.1", port }] });

  it("can relay a login only if channel binding is off", async () => {
    await using middleman = await startMiddleman();
    const to = through(middleman.port);
    assert.equal(await isEncrypted("by_scram", query + "disable", to), true);
    for (const wanted of ["prefer", "require"]) {
      assert.equal(
        await reasonOf("by_scram", query + wanted, to),
        "login_refused",
      );
    }
  });

  it("is detected when he withholds the server's offer of channel binding", async () => {
    await using middleman = await startMiddleman((bytes) => {
      const text = bytes.toString("latin1");
      const at = text.indexOf("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
      if (at < 0) return bytes;
      const without = Uint8Array.from([
        ...bytes.subarray(0, at),
        ...bytes.subarray(at + 19),
      ]);
      without[4]! -= 19;
      return without as Buffer;
    });
    const to = through(middleman.port);
    assert.equal(await isEncrypted("by_scram", query + "disable", to), true);
    assert.equal(
      await reasonOf("by_scram", query + "prefer", to),
      "login_refused",
    );
    assert.equal(
      await reasonOf("by_scram", query + "require", to),
      "authentication_refused",
    );
  });
});
