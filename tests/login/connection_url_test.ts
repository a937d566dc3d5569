/**
 * The parser of connection URLs: it reads them as libpq does, and refuses what
 * it does not know. libpq_test.ts compares with libpq on real servers.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import {
  type ConnectionTarget,
  parseConnectionUrl,
} from "../../src/database/connection_target.ts";
import { resolveOptions } from "../../src/postgres/resolved_options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";

const caPath = fileURLToPath(
  new URL("../fixtures/tls/ca.crt", import.meta.url),
);
const ca = encodeURIComponent(caPath);

function refused(url: string): string {
  try {
    parseConnectionUrl(url);
  } catch (error) {
    assert.ok(isStreamStorageError(error, "BAD_CONFIG"), String(error));
    assert.equal(error.details.reason, "bad_url");
    return error.message;
  }
  return assert.fail(`Expected ${url} to be refused`);
}

describe("A connection URL", () => {
  const host = (host: string, port = 5432) => ({ host, port });
  const cases: [string, Partial<ConnectionTarget>][] = [
    ["postgresql://u@h/d", {
      hosts: [host("h")],
      user: "u",
      database: "d",
      password: "",
      ssl: { mode: "prefer" },
      channelBinding: "prefer",
      requireAuth: undefined,
      sessionAttrs: "any",
    }],
    ["postgres://u@", { hosts: [host("localhost")], database: "u" }],
    ["postgresql://u:p@h:7", { hosts: [host("h", 7)], password: "p" }],
    ["postgresql://u:a:b?c#d@h/e", { password: "a:b?c#d", database: "e" }],
    ["postgresql://u:%40%2F%3A%25@h", { password: "@/:%" }],
    ["postgresql://u:a+b%20c@h/d+e", { password: "a+b c", database: "d+e" }],
    ["postgresql://u@h/?dbname=a+b", { database: "a+b" }],
    ["postgresql:///d?host=h&user=u&password=p&port=9", {
      hosts: [host("h", 9)],
      user: "u",
      password: "p",
      database: "d",
    }],
    ["postgresql://u@h/d?user=v&dbname=e&host=i", {
      hosts: [host("i")],
      user: "v",
      database: "e",
    }],
    ["postgresql://u@[::1]:7/d", { hosts: [host("::1", 7)] }],
    ["postgresql://u@[fe80::1],h:6/d", {
      hosts: [host("fe80::1"), host("h", 6)],
    }],
    ["postgresql://u@/d?host=::1", { hosts: [host("::1")] }],
    ["postgresql://u@/d?host=::1,[::2],h&port=1,2,3", {
      hosts: [host("::1", 1), host("::2", 2), host("h", 3)],
    }],
    ["postgresql://u@a,b:7/d", { hosts: [host("a"), host("b", 7)] }],
    ["postgresql://u@a,b/d?port=7", { hosts: [host("a", 7), host("b", 7)] }],
    ["postgresql://u@%2Fvar%2Frun:7/d", { hosts: [host("/var/run", 7)] }],
    ["postgresql://u@/d?host=/cloudsql/p:r:i", {
      hosts: [host("/cloudsql/p:r:i")],
    }],
    ["postgresql://u@%2Fcloudsql%2Fp%3Ar%3Ai/d", {
      hosts: [host("/cloudsql/p:r:i")],
    }],
    ["postgresql://u@h?sslmode=allow", { ssl: { mode: "prefer" } }],
    ["postgresql://u@h?ssl=true", { ssl: { mode: "require" } }],
    ["postgresql://u@h?sslrootcert=system", { ssl: { mode: "verify-full" } }],
    ["postgresql://u@h?sslmode=require&sslnegotiation=direct", {
      ssl: { mode: "require", negotiation: "direct" },
    }],
    ["postgresql://u@h?channel_binding=require&require_auth=!password,!none", {
      channelBinding: "require",
      requireAuth: ["md5", "scram-sha-256", "gss", "sspi"],
    }],
    ["postgresql://u@h?gssencmode=prefer&keepalives=0", {
      keepAliveMs: undefined,
    }],
    ["postgresql://u@h?keepalives_idle=30&connect_timeout=3", {
      keepAliveMs: 30_000,
      connectTimeoutMs: 3000,
    }],
    ["postgresql://u@h?options=-c%20a%3Db&application_name=x%26y", {
      options: "-c a=b",
      applicationName: "x&y",
    }],
    ["postgresql://u@h?target_session_attrs=primary", {
      sessionAttrs: "primary",
    }],
    ["postgresql://u@h?target_session_attrs=prefer-standby", {
      sessionAttrs: "prefer-standby",
    }],
    ["postgresql://u@h?sslmode=disable&sslmode=verify-full", {
      ssl: { mode: "verify-full" },
    }],
  ];
  for (const [url, expected] of cases) {
    it(`${url} is read`, () => {
      const target = parseConnectionUrl(url);
      for (const [name, value] of Object.entries(expected)) {
        assert.deepEqual(target[name as keyof ConnectionTarget], value);
      }
    });
  }

  it("may name certificate files, which are not yet read", () => {
    const { ssl } = parseConnectionUrl(
      `postgresql://u@h?sslmode=verify-ca&sslrootcert=${ca}`,
    );
    assert.deepEqual(ssl, { mode: "verify-ca", ca: caPath });
  });

  for (
    const query of [
      "sslmod=verify-full",
      "ssl_mode=require",
      "SSLMODE=require",
      "sslmode=",
      "sslmode=verify_full",
      "requiressl=1",
      "ssl=1",
      "channel_binding=required",
      "require_auth=scram",
      "require_auth=!none,md5",
      "gssencmode=require",
      "sslnegotiation=direct",
      "sslnegotiation=direct&sslmode=disable",
      "sslrootcert=system&sslmode=require",
      `sslcert=${ca}`,
      "sslcrl=/nowhere.pem",
      "ssl_min_protocol_version=TLSv1.3",
      "service=x",
      "passfile=/x",
      "target_session_attrs=read-only",
      "keepalives=yes",
      "connect_timeout=-1",
      "connect_timeout=1e9",
      "port=1,2",
      "port=0",
      "port=70000",
      "host=h:5432",
      "host=a%40b",
      "host=%00",
      "constructor=1",
      "__proto__=1",
      "a=b=c",
      "justaname",
      "x=%zz",
      "&",
    ]
  ) {
    it(`with ${query} is refused`, () => {
      refused(`postgresql://u@h/d?${query}`);
    });
  }

  it("that is refused leads to an error with the parameter's name, not its value", () => {
    const message = refused("postgresql://u@h/d?sslmod=hunter2");
    assert.match(message, /The parameter sslmod is not known/);
    assert.doesNotMatch(message, /hunter2/);
    assert.doesNotMatch(refused("postgresql://u@h/d?hunter%202=x"), /hunter/);
  });

  it("with an unencoded password never leads to another host", () => {
    const piece = fc.constantFrom(
      "SECRET",
      "12",
      "@",
      "/",
      "?",
      "#",
      ":",
      "&",
      "=",
      "%40",
      ",",
      "[",
      "]",
      "options=",
    );
    const password = fc.array(piece, { minLength: 1, maxLength: 8 })
      .map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(password, (password) => {
        const url = `postgresql://u:${password}@host/d`;
        try {
          const target = parseConnectionUrl(url);
          assert.deepEqual(target.hosts, [host("host")]);
          assert.equal(target.password, decodeURIComponent(password));
        } catch (error) {
          assert.ok(isStreamStorageError(error, "BAD_CONFIG"), String(error));
          assert.equal(error.cause, undefined);
          assert.doesNotMatch(error.message, /SECRET|12/);
        }
      }),
      { numRuns: 5000 },
    );
    refused("postgresql://u:p@PARTPW@host/d");
  });
});

describe("The options of a connection", () => {
  const schema = "s";

  it("override the URL", () => {
    const { target, ownershipTarget } = resolveOptions({
      schema,
      url: "postgresql://u@h/d?channel_binding=disable&require_auth=none",
      ownershipUrl: "postgresql://u@i/d",
      ssl: { mode: "require", negotiation: "direct" },
      channelBinding: "require",
      requireAuth: "scram-sha-256",
    });
    for (const each of [target, ownershipTarget]) {
      assert.equal(each.channelBinding, "require");
      assert.deepEqual(each.requireAuth, ["scram-sha-256"]);
      assert.equal(each.ssl.negotiation, "direct");
    }
  });

  it("are checked together with all other options", () => {
    const options = {
      schema,
      user: "u",
      ssl: { mode: "prefer", negotiation: "direct" },
      channelBinding: "always",
      requireAuth: "kerberos",
    } as never;
    assert.throws(() => resolveOptions(options), (error) => {
      assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
      const faults = error.details.faults as { option: string }[];
      assert.deepEqual(
        faults.map(({ option }) => option).sort(),
        ["channelBinding", "requireAuth", "ssl"],
      );
      return true;
    });
  });
});
