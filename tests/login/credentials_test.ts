/**
 * Passwords from a function and certificates in files, on a real server: both
 * may change while a store is open, and no error shows them.
 */
import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";
import {
  openStreamReader,
  openStreamStorage,
  parseStreamId,
  StreamStorageError,
  type StreamStorageOptions,
} from "../../mod.ts";
import { requestCancel } from "../../src/database/cancel_request.ts";
import {
  parseConnectionUrl,
  type SslOptions,
} from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { toStorageError, verdictOf } from "../../src/database/failures.ts";
import { readTlsSettings } from "../../src/database/login/certificates.ts";
import type { PasswordSource } from "../../src/database/login/password.ts";
import type { Session } from "../../src/database/session.ts";
import type { EmbeddedPostgres } from "../../src/embedded/mod.ts";
import {
  rolePassword,
  startLoginCluster,
  tlsFixture,
} from "../support/login/cluster.ts";
import { testSession } from "../support/sessions.ts";

const secret = "do-not-show";

let server: EmbeddedPostgres;
let dir: string;
before(async () => {
  server = await startLoginCluster();
  dir = await mkdtemp(join(tmpdir(), "stream-storage-credentials-"));
  await using admin = await testSession({ url: server.url });
  await admin.script("GRANT CREATE ON DATABASE postgres TO by_scram");
});
after(async () => {
  await server?.close();
  await rm(dir, { recursive: true, force: true });
});

function addressOf(user: string, query = ""): string {
  const { port } = parseConnectionUrl(server.url).hosts[0]!;
  return `postgresql://${user}@127.0.0.1:${port}/postgres?${query}`;
}

interface Login {
  user?: string;
  query?: string;
  password?: PasswordSource;
  ssl?: SslOptions;
  connectTimeoutMs?: number;
}

function connect(
  { user = "by_scram", query, ...changes }: Login,
): Promise<Session> {
  const target = parseConnectionUrl(addressOf(user, query));
  return connectSession({ ...target, ...changes }, {}, {
    preparedStatements: false,
    answerTimeoutMs: 10_000,
  });
}

/** How the login fails; checks that the error shows no secret. */
async function failureOf(login: Login) {
  const error = await connect(login).then(
    async (session) => {
      await session.close();
      return assert.fail("Expected no session");
    },
    (error) => error,
  );
  assert.ok(!inspect(error, { depth: 10 }).includes(secret), error);
  const { code, retryable, details, message } = toStorageError(error);
  assert.equal(verdictOf(error, "write"), retryable ? "retry" : "final");
  return { code, retryable, reason: details.reason, message };
}

async function works(login: Login): Promise<void> {
  await using session = await connect(login);
  assert.deepEqual(await session.script("SELECT 1"), [["1"]]);
}

describe("A password from a function", () => {
  it("is requested at each login that needs one, and at no other", async () => {
    let asked = 0;
    const password = () => {
      asked++;
      return Promise.resolve(rolePassword);
    };
    for (const user of ["by_password", "by_md5", "by_scram"]) {
      await works({ user, password });
    }
    assert.equal(asked, 3);
    await works({ user: "by_trust", password });
    const query = "require_auth=scram-sha-256";
    const refused = await failureOf({ user: "by_password", query, password });
    assert.equal(refused.reason, "authentication_refused");
    assert.equal(asked, 3);
  });

  it("that fails makes the login fail with an error that allows a retry", async () => {
    const ways: PasswordSource[] = [
      () => {
        throw new Error(secret);
      },
      () => Promise.reject(secret),
      () => Promise.reject(Object.assign(new TypeError(secret), { secret })),
    ];
    for (const password of ways) {
      const { message, ...failure } = await failureOf({ password });
      assert.deepEqual(failure, {
        code: "UNAVAILABLE",
        retryable: true,
        reason: "password_unavailable",
      });
      assert.match(message, /`password` has failed/);
    }
  });

  it("has no more time than the connection", async () => {
    const password = () => new Promise<string>(() => {});
    const { reason, retryable, message } = await failureOf({
      password,
      connectTimeoutMs: 300,
    });
    assert.equal(reason, "password_unavailable");
    assert.equal(retryable, true);
    assert.match(message, /`password` returned none within 300 ms/);
  });

  it("that is empty or no text is a fault of the configuration", async () => {
    for (const given of ["", `${secret}\0`, undefined, null, 7, { secret }]) {
      const password = (() => given) as PasswordSource;
      const { code, reason } = await failureOf({ password });
      assert.deepEqual([code, reason], ["BAD_CONFIG", "login_incomplete"]);
    }
  });

  it("may fail with an error of its author's choice", async () => {
    for (const retryable of [true, false]) {
      const own = new StreamStorageError({
        code: retryable ? "UNAVAILABLE" : "BAD_CONFIG",
        message: "The identity service says no",
        details: { reason: "own_reason" },
        retryable,
      });
      const failure = await failureOf({ password: () => Promise.reject(own) });
      const { code, message } = own;
      assert.deepEqual(failure, {
        code,
        message,
        retryable,
        reason: "own_reason",
      });
    }
  });

  it("may change while a store is open, on every connection", async () => {
    await using admin = await testSession({ url: server.url });
    await admin.script("SET password_encryption = 'scram-sha-256'");
    const passwords = [rolePassword];
    let asked = 0;
    // As with a pooler's address and the server's own: no password in either.
    const options: StreamStorageOptions = {
      url: addressOf("by_scram"),
      ownershipUrl: addressOf("by_scram", "sslmode=require"),
      password: () => {
        asked++;
        return passwords.at(-1)!;
      },
      schema: "credentials",
      partitions: 2,
      startupDelayMs: 0,
      workerConcurrency: 0,
    };
    await using storage = await openStreamStorage(options);
    const streamId = parseStreamId("20" + "ab".repeat(31));
    const genesis = { number: 0n, data: new Uint8Array([1]) };
    await storage.createStreamStorage(streamId, genesis);
    const before = asked;
    for (const next of ["second", "third"]) {
      passwords.push(next);
      await admin.script(`ALTER ROLE by_scram PASSWORD '${next}'`);
      await admin.script(
        `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
         WHERE usename = 'by_scram'`,
      );
      const slot = passwords.length - 2;
      await storage.writeEvent(streamId, 1n, slot, new Uint8Array([slot]));
      const { minipoolEnvelopes } = await storage.readStreamFromLastSnapshot(
        streamId,
        0,
      );
      assert.equal(minipoolEnvelopes.length, slot + 1);
    }
    assert.ok(asked > before);
    assert.equal(storage.signal.aborted, false);
    await admin.script(`ALTER ROLE by_scram PASSWORD '${rolePassword}'`);
    passwords.push(rolePassword);
  });

  it("also serves readers, and the search for the primary among hosts", async () => {
    const { port } = parseConnectionUrl(server.url).hosts[0]!;
    let asked = 0;
    const options = {
      // The store logs in to each host to find out which one takes writes.
      url:
        `postgresql://by_scram@127.0.0.1:${port},localhost:${port}/postgres` +
        "?target_session_attrs=read-write",
      password: () => {
        asked++;
        return Promise.resolve(rolePassword);
      },
      schema: "credentials_of_readers",
    };
    await using storage = await openStreamStorage({
      ...options,
      partitions: 2,
      startupDelayMs: 0,
      workerConcurrency: 0,
    });
    const streamId = parseStreamId("20" + "cd".repeat(31));
    const data = new Uint8Array([1]);
    await storage.createStreamStorage(streamId, { number: 0n, data });
    const before = asked;
    await using reader = await openStreamReader({
      ...options,
      url: addressOf("by_scram"),
    });
    assert.equal(await reader.getLastMiniblockNumber(streamId), 0n);
    assert.ok(before >= 4 && asked > before, `${before}, ${asked}`);
  });

  it("is refused if the URL has a password, too", async () => {
    const options = { schema: "s", password: () => secret };
    await assert.rejects(
      openStreamStorage({ ...options, url: `postgresql://u:${secret}@h/d` }),
      (error: StreamStorageError) => {
        const [fault] = error.details.faults as { option: string }[];
        assert.equal(fault?.option, "password");
        return !inspect(error).includes(secret);
      },
    );
  });
});

describe("Certificates", () => {
  const file = (name: string) => join(dir, name);
  const pem = (name: string) => readFile(tlsFixture(name), "utf8");

  it("are PEM text or files", async () => {
    const [ca, cert, key] = ["ca.crt", "client.crt", "client.key"];
    const mode = "verify-ca";
    await works({
      user: "by_cert",
      ssl: {
        mode,
        ca: await pem(ca),
        cert: await pem(cert),
        key: await pem(key),
      },
    });
    const [caPath, certPath, keyPath] = [ca, cert, key].map(tlsFixture);
    await works({
      user: "by_cert",
      ssl: { mode, ca: caPath!, cert: certPath!, key: keyPath! },
    });
  });

  it("in files are read again for each connection", async () => {
    const ssl: SslOptions = {
      mode: "verify-ca",
      ca: file("ca"),
      cert: file("cert"),
      key: file("key"),
    };
    const put = (ca: string, own: string) =>
      Promise.all([
        copyFile(tlsFixture(ca), file("ca")),
        copyFile(tlsFixture(`${own}.crt`), file("cert")),
        copyFile(tlsFixture(`${own}.key`), file("key")),
      ]);
    const login = { user: "by_cert", ssl };
    await put("other_ca.crt", "client");
    assert.equal((await failureOf(login)).reason, "tls_failed");
    await put("ca.crt", "server");
    assert.equal((await failureOf(login)).reason, "tls_failed");
    await put("ca.crt", "client");
    await works(login);
    // A cancel request makes a connection of its own, and reads them, too.
    const address = parseConnectionUrl(server.url).hosts[0]!;
    await using session = await connect(login);
    const { processId, secretKey } = session;
    const cancel = () =>
      requestCancel({ address, ssl, processId, secretKey }, 10_000);
    await put("other_ca.crt", "client");
    assert.equal(await cancel(), false);
    await put("ca.crt", "client");
    assert.equal(await cancel(), true);
  });

  it("in a file that is just being replaced are awaited for a moment", async () => {
    const text = await pem("ca.crt");
    for (let i = 0; i < 5; i++) {
      const path = file(`late_${i}`);
      const reading = readTlsSettings({ mode: "verify-ca", ca: path });
      writeFileSync(path, text);
      assert.equal((await reading).pem.ca, text);
    }
  });

  it("that can't be used are named in the error, without their content", async () => {
    const good = {
      ca: await pem("ca.crt"),
      cert: await pem("client.crt"),
      key: await pem("client.key"),
    };
    const block = (name: string) =>
      `-----BEGIN ${name}-----\n${btoa(secret)}\n-----END ${name}-----\n`;
    await writeFile(file("empty"), "");
    await writeFile(file("binary"), new Uint8Array([0xff, 0, 0x80]));
    const cases: [Partial<SslOptions>, RegExp][] = [
      [{ ca: file("missing") }, /ssl\.ca \(sslrootcert\).*ENOENT/],
      [{ cert: file("missing") }, /ssl\.cert \(sslcert\).*ENOENT/],
      [{ key: file("missing") }, /ssl\.key \(sslkey\).*ENOENT/],
      [{ key: dir }, /ssl\.key.*EISDIR/],
      [{ key: secret.repeat(1000) }, /ssl\.key.*can't be read/],
      [{ ca: file("empty") }, /ssl\.ca.*no PEM certificate/],
      [{ ca: file("binary") }, /ssl\.ca.*no PEM certificate/],
      [{ ca: good.key }, /ssl\.ca.*no PEM certificate/],
      [{ ca: block("CERTIFICATE") }, /ssl\.ca.*can't be read/],
      [{ ca: good.ca + block("CERTIFICATE") }, /ssl\.ca.*can't be read/],
      [{ cert: block("CERTIFICATE") }, /ssl\.cert.*can't be read/],
      [{ key: block("PRIVATE KEY") }, /ssl\.key.*no PEM private key/],
      [{ key: block("ENCRYPTED PRIVATE KEY") }, /ssl\.key.*encrypted/],
      [{ key: await pem("server.key") }, /ssl\.key.*another certificate/],
    ];
    for (const mode of ["prefer", "verify-ca"] as const) {
      for (const [change, expected] of cases) {
        const ssl = { mode, ...good, ...change };
        const failure = await failureOf({ user: "by_cert", ssl });
        assert.equal(failure.code, "BAD_CONFIG");
        assert.equal(failure.reason, "bad_certificate");
        assert.match(failure.message, expected);
        for (const shown of [dir, btoa(secret)]) {
          assert.ok(!failure.message.includes(shown), failure.message);
        }
      }
    }
  });

  it("may be named in the URL", async () => {
    const query = (name: string) =>
      `sslmode=verify-ca&sslrootcert=${encodeURIComponent(tlsFixture(name))}`;
    const password = rolePassword;
    await works({ query: query("ca.crt"), password });
    const failure = await failureOf({ query: query("missing"), password });
    assert.equal(failure.reason, "bad_certificate");
    assert.match(failure.message, /sslrootcert/);
  });
});
