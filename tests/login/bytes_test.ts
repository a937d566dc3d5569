/**
 * The login against a scripted server, without sockets: each method works, and
 * damaged, malformed or random bytes end in a typed error. socket_test.ts
 * attacks over sockets.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  AuthPolicy,
  type ChannelBinding,
  parseRequireAuth,
} from "../../src/database/login/auth_policy.ts";
import { serverEndPoint } from "../../src/database/login/channel_binding.ts";
import { LoginError } from "../../src/database/login/login_error.ts";
import { LoginInput } from "../../src/database/login/login_input.ts";
import type { LoginRequest } from "../../src/database/login/log_in.ts";
import { saslprep } from "../../src/database/login/saslprep.ts";
import { maxScramIterations } from "../../src/database/login/scram.ts";
import {
  authentication,
  authenticationOk,
  errorResponse,
  greeting,
  message,
  plainTurns,
  scramTurns,
  type Turn,
} from "../support/login/server.ts";
import { damage, damaged } from "../support/damage.ts";
import { malformedLogins } from "../support/login/malformed_logins.ts";
import { isTyped, playLogin } from "../support/login/scripted_login.ts";
import { certificates } from "../support/login/certificates.ts";

const password = "secret";
const onlyScram = new AuthPolicy("prefer", ["scram-sha-256"]);

/** The server's turns by method. SCRAM needs new ones for each login. */
const ways: Record<string, () => Turn[]> = {
  trust: () => plainTurns["trust"]!,
  password: () => plainTurns["password"]!,
  md5: () => plainTurns["md5"]!,
  scram: () => scramTurns({ password }),
};

function policy(
  channelBinding: ChannelBinding,
  requireAuth?: string,
): AuthPolicy {
  return new AuthPolicy(
    channelBinding,
    requireAuth === undefined ? undefined : parseRequireAuth(requireAuth)!,
  );
}

function fault(wanted: LoginError["fault"]) {
  return (error: unknown): true => {
    assert.ok(error instanceof LoginError, String(error));
    assert.equal(error.fault, wanted);
    return true;
  };
}

describe("A login", () => {
  for (const [name, turns] of Object.entries(ways)) {
    it(`by ${name} gives the session's key, however its bytes are split`, async () => {
      for (const chunks of [[], [1], [3, 7, 1]]) {
        const { processId, secretKey } = await playLogin({
          turns: turns(),
          chunks,
        });
        assert.equal(processId, 4711);
        assert.deepEqual(secretKey, new Uint8Array([1, 2, 3, 4]));
      }
    });
  }

  it("accepts a secret key of any length, or none", async () => {
    for (const length of [0, 4, 32, 256]) {
      const key = message("K", Buffer.alloc(4 + length, 7));
      const turns = [
        () => Buffer.concat([authenticationOk, key, message("Z", "I")]),
      ];
      const { secretKey } = await playLogin({ turns });
      assert.equal(secretKey.length, length);
    }
    const turns = [() => Buffer.concat([authenticationOk, message("Z", "I")])];
    assert.equal((await playLogin({ turns })).processId, 0);
  });

  it("accepts notices, and a reply that names its own protocol version", async () => {
    const version = message("v", Buffer.from([0, 3, 0, 0, 0, 0, 0, 0]));
    const notice = errorResponse("00000", "hello", "N");
    const turns = [
      () =>
        Buffer.concat([
          notice,
          version,
          notice,
          authenticationOk,
          notice,
          greeting,
        ]),
    ];
    assert.equal((await playLogin({ turns })).processId, 4711);
  });

  it("sends nothing after the startup message if it lacks a password", async () => {
    for (const name of ["password", "md5", "scram"]) {
      const said: Buffer[] = [];
      const turns = ways[name]!().map((turn): Turn => (bytes) => {
        said.push(bytes);
        return turn(bytes);
      });
      await assert.rejects(
        playLogin({ turns, request: { password: "" } }),
        fault("login_incomplete"),
      );
      assert.equal(said.length, 1);
    }
  });

  it("sends no zero character, which would begin another parameter", async () => {
    const request = { parameters: { user: "u\0database\0other" } };
    await assert.rejects(
      playLogin({ turns: ways["trust"]!(), request }),
      fault("login_incomplete"),
    );
    await assert.rejects(
      playLogin({ turns: ways["password"]!(), request: { password: "a\0b" } }),
      fault("login_incomplete"),
    );
  });

  it("follows require_auth as libpq does, and gives no password to a server that may not ask", async () => {
    const expected: [string, string[]][] = [
      ["scram-sha-256", ["scram"]],
      ["password,md5", ["password", "md5"]],
      ["none", ["trust"]],
      ["!none", ["password", "md5", "scram"]],
      ["!password, !md5", ["trust", "scram"]],
      ["gss,sspi", []],
    ];
    for (const [requireAuth, allowed] of expected) {
      const request = { policy: policy("prefer", requireAuth) };
      for (const [name, turns] of Object.entries(ways)) {
        const login = playLogin({ turns: turns(), request });
        if (allowed.includes(name)) await login;
        else await assert.rejects(login, fault("authentication_refused"));
      }
    }
    for (const bad of ["", "scram", "!none,md5", "md5,", "!!md5"]) {
      assert.equal(parseRequireAuth(bad), undefined);
    }
  });
});

describe("SCRAM", () => {
  it("fails if the server skips its end, or does not know the password", async () => {
    const [offer, first, last] = scramTurns({ password }) as [Turn, Turn, Turn];
    const ok = () => Buffer.concat([authenticationOk, greeting]);
    for (const turns of [[ok], [offer, ok], [offer, first, ok]]) {
      const login = playLogin({ turns, request: { policy: onlyScram } });
      await assert.rejects(
        login,
        fault(
          turns.length === 1 ? "authentication_refused" : "server_unproven",
        ),
      );
      // Without a policy only the first case succeeds, as with libpq.
      if (turns.length > 1) {
        await assert.rejects(playLogin({ turns }), fault("server_unproven"));
      }
    }
    const forged = Buffer.concat([
      authentication(12, `v=${Buffer.alloc(32).toString("base64")}`),
      authenticationOk,
      greeting,
    ]);
    const turns = [offer, first, (said: Buffer) => last(said) && forged];
    await assert.rejects(playLogin({ turns }), fault("server_unproven"));
  });

  it("accepts only a nonce that begins with the client's and is longer", async () => {
    const [offer, first, last] = scramTurns({ password }) as [Turn, Turn, Turn];
    const nonces: ((text: string) => string)[] = [
      (text) => text.replace(/r=[^,]+/, "r=another"),
      (text) => text.replace(/r=([^,]+).{12},/, "r=$1,"),
    ];
    for (const change of nonces) {
      const changed: Turn = (said) =>
        authentication(11, change(first(said).toString("latin1", 9)));
      await assert.rejects(
        playLogin({ turns: [offer, changed, last] }),
        /nonce does not match ours/,
      );
    }
  });

  it("does 600 000 iterations, and refuses more than it has time for", async () => {
    const offered = (iterations: number): Turn[] => {
      const [offer, first, last] = scramTurns({ password }) as [
        Turn,
        Turn,
        Turn,
      ];
      const change: Turn = (said) =>
        authentication(
          11,
          first(said).toString("latin1", 9).replace(/i=1$/, `i=${iterations}`),
        );
      return [offer, change, last];
    };
    await playLogin({ turns: scramTurns({ password, iterations: 600_000 }) });
    await assert.rejects(
      playLogin({ turns: offered(maxScramIterations + 1) }),
      fault("authentication_unsupported"),
    );
  });

  it("is bound to the server's certificate, and so detects a middleman's", async () => {
    const [ours, other] = [certificates.rsaSha256, certificates.rsaSha512];
    const plus = (of: Buffer, ...more: string[]) =>
      scramTurns({
        password,
        mechanisms: ["SCRAM-SHA-256-PLUS", ...more],
        binding: serverEndPoint(of),
      });
    const over = (
      certificate: Buffer | undefined,
      channelBinding: ChannelBinding,
    ): Partial<LoginRequest> => ({
      isEncrypted: true,
      certificate,
      policy: policy(channelBinding),
    });
    for (const wanted of ["prefer", "require"] as const) {
      const request = over(ours, wanted);
      await playLogin({ turns: plus(ours, "SCRAM-SHA-256"), request });
      // The server binds to its own certificate, the client to the middleman's.
      const relayed = playLogin({ turns: plus(other), request });
      await assert.rejects(relayed, /channel binding check failed/);
    }
    const plain = () => scramTurns({ password });
    await assert.rejects(
      playLogin({ turns: plain(), request: over(ours, "require") }),
      fault("authentication_refused"),
    );
    await assert.rejects(
      playLogin({ turns: plus(ours), request: over(undefined, "require") }),
      fault("authentication_refused"),
    );
    for (const way of [ways["trust"]!, ways["password"]!, ways["md5"]!]) {
      await assert.rejects(
        playLogin({ turns: way(), request: over(ours, "require") }),
        fault("authentication_refused"),
      );
    }
    // The header says whether the client could bind, so that the server can
    // detect that somebody withheld its offer.
    for (
      const [request, header] of [
        [over(ours, "prefer"), "y,,"],
        [over(ours, "disable"), "n,,"],
        [over(undefined, "prefer"), "n,,"],
        [{}, "n,,"],
      ] as const
    ) {
      let said = "";
      const [offer, first, last] = plain() as [Turn, Turn, Turn];
      const listen: Turn = (bytes) => {
        said = bytes.toString("latin1");
        return first(bytes);
      };
      await playLogin({ turns: [offer, listen, last], request });
      assert.ok(said.includes(`${header}n=`));
    }
  });

  it("normalises passwords as PostgreSQL does", () => {
    const cases: [string, string][] = [
      ["I\u00adX", "IX"],
      ["user", "user"],
      ["\u00aa", "a"],
      ["\u2168", "IX"],
      ["a\u00a0b", "a b"],
      ["\u0627\u0031", "\u0627\u0031"], // prohibited, so left unchanged
      ["\u2168\u0007", "\u2168\u0007"],
      ["\u00ad", "\u00ad"],
      ["\u{1f600}", "\u{1f600}"],
    ];
    for (const [given, prepared] of cases) {
      assert.equal(saslprep(given), prepared);
    }
  });
});

describe("The binding to a certificate", () => {
  it("uses the hash that the certificate's signature names", () => {
    const lengths = Object.entries(certificates)
      .filter(([name]) => name !== "ed25519")
      .map(([name, certificate]) => [name, serverEndPoint(certificate).length]);
    assert.deepEqual(Object.fromEntries(lengths), {
      rsaSha1: 32,
      rsaSha256: 32,
      rsaSha384: 48,
      rsaSha512: 64,
      ecdsaSha256: 32,
      ecdsaSha384: 48,
      pssSha256: 32,
      pssSha512: 64,
    });
  });

  it("is refused for a certificate that allows none, whatever the bytes", () => {
    const refused = fault("authentication_refused");
    assert.throws(() => serverEndPoint(certificates.ed25519), refused);
    fc.assert(
      fc.property(
        fc.nat(),
        fc.nat(255),
        fc.nat(),
        (at, byte, end) => {
          const bytes = Buffer.from(certificates.pssSha512);
          bytes[at % 200] = byte;
          try {
            serverEndPoint(bytes.subarray(0, end % (bytes.length + 1)));
          } catch (error) {
            refused(error);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});

describe("A malformed login", () => {
  /** When the malformed bytes come: after how many turns of which login. */
  const steps: [string, string, number][] = [
    ["at once", "trust", 0],
    ["after a password", "password", 1],
    ["after an MD5 hash", "md5", 1],
    ["after SCRAM's first message", "scram", 1],
    ["after SCRAM's last message", "scram", 2],
  ];
  for (const [step, way, before] of steps) {
    it(`${step} ends in a typed error (${Object.keys(malformedLogins).length} kinds)`, async () => {
      for (const [name, bytes] of Object.entries(malformedLogins)) {
        const turns: Turn[] = [...ways[way]!().slice(0, before), () => bytes];
        const error = await playLogin({ turns }).then(() => name, (e) => e);
        assert.ok(isTyped(error), `${name}: ${error}`);
      }
    });
  }

  it("after AuthenticationOk ends in a typed error", async () => {
    for (const [name, bytes] of Object.entries(malformedLogins)) {
      const turns = [() => Buffer.concat([authenticationOk, bytes])];
      const error = await playLogin({ turns }).then(() => name, (e) => e);
      assert.ok(isTyped(error), `${name}: ${error}`);
    }
  });

  it("is refused at a header that is too large, and when it grows too long", async () => {
    const input = new LoginInput();
    input.push(Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff]));
    // It fails at once: the body has not come, and the connection is open.
    await assert.rejects(input.message(), /Expected a message of 4 to/);
    const notices = Buffer.concat(
      Array.from({ length: 100_000 }, () => errorResponse("00000", "x", "N")),
    );
    await assert.rejects(
      playLogin({ turns: [() => notices] }),
      /Expected a login of at most/,
    );
  });

  it("with random damage ends in a typed error, or in a session with a server that has proven itself", async () => {
    const login = fc.record({
      way: fc.constantFrom(...Object.keys(ways)),
      knows: fc.boolean(),
      turn: fc.nat(2),
      damages: fc.array(damage, { minLength: 1, maxLength: 4 }),
      chunks: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 3 }),
      insists: fc.boolean(),
    });
    let sessions = 0;
    await fc.assert(
      fc.asyncProperty(login, async (one) => {
        const turns = one.way === "scram"
          ? scramTurns({ password: one.knows ? password : "guessed" })
          : ways[one.way]!();
        const at = one.turn % turns.length;
        const outcome = await playLogin({
          turns,
          chunks: one.chunks,
          change: (bytes, turn) =>
            turn === at ? one.damages.reduce(damaged, bytes) : bytes,
          request: one.insists ? { policy: onlyScram } : {},
        }).catch((error) => error);
        if (isTyped(outcome)) return;
        assert.ok(outcome.secretKey instanceof Uint8Array, String(outcome));
        assert.ok(!one.insists || (one.way === "scram" && one.knows));
        sessions++;
      }),
      { numRuns: 50_000 },
    );
    // If all damage were fatal, the later steps would hardly be tested.
    assert.ok(sessions > 100);
  });

  it("of random bytes ends in a typed error", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 3 }),
        async (bytes, chunks) => {
          const turns = [() => Buffer.from(bytes)];
          const outcome = await playLogin({ turns, chunks })
            .catch((error) => error);
          assert.ok(isTyped(outcome), String(outcome));
        },
      ),
      { numRuns: 5000 },
    );
  });
});
