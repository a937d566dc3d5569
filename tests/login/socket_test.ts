/**
 * The login over sockets, attacked by scripted servers: malformed, slow,
 * endless and random bytes, and false replies to the request for TLS. The
 * process lives, and each login ends in a typed error by its deadline.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import {
  type AddressInfo,
  createConnection,
  createServer,
  type Socket,
} from "node:net";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  type ConnectionTarget,
  parseConnectionUrl,
} from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import { toStorageError } from "../../src/database/failures.ts";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import {
  authentication,
  authenticationOk,
  errorResponse,
  greeting,
  message,
} from "../support/login/server.ts";
import { malformedLogins } from "../support/login/malformed_logins.ts";
import { openTestStorage } from "../support/storage.ts";

const options = {
  preparedStatements: false,
  answerTimeoutMs: 10_000,
};

interface ScriptedServer extends AsyncDisposable {
  port: number;
}

/** Calls `serve` with each connection and its number from 0. */
async function scriptedServer(
  serve: (socket: Socket, nth: number) => void,
  path?: string,
): Promise<ScriptedServer> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}); // the client may leave at any time
    serve(socket, count++);
  });
  if (path === undefined) server.listen(0, "127.0.0.1");
  else server.listen(path);
  await once(server, "listening");
  return {
    port: path === undefined ? (server.address() as AddressInfo).port : 0,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function connect(
  port: number,
  query = "",
  more: Partial<ConnectionTarget> = {},
) {
  const url = `postgresql://u:secret@127.0.0.1:${port}/d?${query}`;
  return connectSession(
    { ...parseConnectionUrl(url), ...more },
    {},
    options,
  );
}

async function failure(session: ReturnType<typeof connect>) {
  const error = await session.then(
    (session) => {
      session.destroy("Not expected");
      return assert.fail("Expected no session");
    },
    (error) => error,
  );
  assert.ok(error instanceof ConnectionLostError, String(error));
  assert.equal(error.sent, false);
  return toStorageError(error);
}

const plain = "sslmode=disable";

/** Whether the store writes again. */
async function isWritten(
  storage: PostgresStreamStorage,
  ...args: Parameters<PostgresStreamStorage["createStreamStorage"]>
): Promise<boolean> {
  try {
    await storage.createStreamStorage(...args);
    return true;
  } catch (error) {
    if (isStreamStorageError(error, "ALREADY_EXISTS")) return true;
    const mayPass = isStreamStorageError(error, "UNAVAILABLE") ||
      isStreamStorageError(error, "BAD_CONFIG");
    if (!mayPass) throw error;
    return false;
  }
}

describe("A hostile server", () => {
  it("can't end the process with a malformed login, whether it closes or not", async () => {
    const kinds = Object.values(malformedLogins);
    for (const before of [Buffer.alloc(0), authenticationOk]) {
      for (const closes of [true, false]) {
        let nth = 0;
        await using server = await scriptedServer((socket) => {
          const bytes = Buffer.concat([before, kinds[nth++ % kinds.length]!]);
          socket.once("data", () => {
            socket.write(bytes);
            if (closes) socket.end();
          });
        });
        // All come at once, and most of those that close must be read fully.
        const few = { connectTimeoutMs: closes ? 20_000 : 1000 };
        await Promise.all(
          kinds.map(() => failure(connect(server.port, plain, few))),
        );
      }
    }
  });

  it("can't end the process with 400 logins of noise", async () => {
    let seed = 1;
    const noise = (max: number) => {
      seed = (seed * 48_271) % 0x7fffffff;
      return seed % max;
    };
    const valid = Buffer.concat([authenticationOk, greeting]);
    await using server = await scriptedServer((socket) => {
      const bytes = Buffer.from(valid);
      for (let i = noise(6); i >= 0; i--) {
        bytes[noise(bytes.length)] = noise(256);
      }
      const cut = noise(bytes.length + 1);
      socket.once("data", () => {
        socket.write(bytes.subarray(0, cut));
        setImmediate(() => socket.end(bytes.subarray(cut)));
      });
    });
    for (let round = 0; round < 8; round++) {
      await Promise.all(Array.from({ length: 50 }, async () => {
        try {
          const session = await connect(server.port, plain);
          session.destroy("It got in");
        } catch (error) {
          assert.ok(error instanceof ConnectionLostError, String(error));
        }
      }));
    }
  });

  it("can't hold up a login past its deadline, by dripping bytes or by silence", async () => {
    for (const kind of ["notices", "bytes", "silence"] as const) {
      const notice = errorResponse("00000", "wait", "N");
      await using server = await scriptedServer((socket) => {
        let at = 0;
        const timer = setInterval(() => {
          if (kind === "notices") socket.write(notice);
          if (kind === "bytes") {
            socket.write(notice.subarray(at % notice.length).subarray(0, 1));
            at++;
          }
        }, 5);
        socket.on("close", () => clearInterval(timer));
      });
      const short = { connectTimeoutMs: 200 };
      const error = await failure(connect(server.port, plain, short));
      assert.equal(error.code, "UNAVAILABLE");
      assert.match(error.message, /Expected a session within 200 ms/);
    }
  });

  it("is disconnected at the header of a message of 2 GiB", async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await scriptedServer((socket) => {
      socket.once(
        "data",
        () => socket.write(malformedLogins["2 GiB announced"]!),
      );
      socket.on("close", () => closed.resolve());
    });
    const error = await failure(connect(server.port, plain));
    assert.match(error.message, /Expected a message of 4 to 65536 bytes/);
    await closed.promise;
  });

  it("causes an error that says whether a retry may help", async () => {
    const cases: [Buffer, string, string][] = [
      [authentication(7), "BAD_CONFIG", "authentication_unsupported"],
      [authentication(9), "BAD_CONFIG", "authentication_unsupported"],
      [errorResponse("28P01"), "BAD_CONFIG", "login_refused"],
      [errorResponse("3D000"), "BAD_CONFIG", "login_refused"],
      [errorResponse("53300"), "UNAVAILABLE", "too_many_connections"],
      [errorResponse("57P03"), "UNAVAILABLE", "connection_failed"],
      [errorResponse("constructor"), "UNAVAILABLE", "connection_failed"],
      [Buffer.from("HTTP/1.1 503\r\n\r\n"), "UNAVAILABLE", "connection_failed"],
    ];
    for (const [bytes, code, reason] of cases) {
      await using server = await scriptedServer((socket) => {
        socket.once("data", () => socket.end(bytes));
      });
      const error = await failure(connect(server.port, plain));
      assert.equal(error.code, code, error.message);
      assert.equal(error.details.reason, reason);
      assert.equal(error.retryable, code === "UNAVAILABLE");
    }
  });

  it("makes openStreamStorage fail with a typed error", async () => {
    await using server = await scriptedServer((socket) => {
      socket.once("data", () => socket.write(authentication(7)));
    });
    const opening = openStreamStorage({
      url: `postgresql://u@127.0.0.1:${server.port}/d?sslmode=disable`,
      schema: "s",
    });
    await assert.rejects(opening, (error) => {
      assert.ok(isStreamStorageError(error, "BAD_CONFIG"), String(error));
      assert.match(error.message, /GSSAPI.*scram-sha-256 \(pg_hba.conf\)/);
      return true;
    });
  });

  it("can't end an open store that has to reconnect", async () => {
    const [place] = parseConnectionUrl(await testDatabaseUrl()).hosts;
    let isStrange = false;
    const open = new Set<Socket>();
    await using server = await scriptedServer((socket) => {
      open.add(socket);
      if (isStrange) return void socket.write(authentication(7));
      const upstream = createConnection(place!.port, place!.host);
      upstream.on("error", () => socket.destroy());
      upstream.on("close", () => socket.destroy());
      socket.on("close", () => upstream.destroy());
      socket.pipe(upstream).pipe(socket);
    });
    const url = new URL(await testDatabaseUrl());
    url.port = String(server.port);
    url.searchParams.set("sslmode", "disable");
    await using test = await openTestStorage({
      url: url.href,
      operationTimeoutMs: 2000,
    });
    const id = newStreamId();
    const genesis = { number: 0n, data: new Uint8Array([1]) };
    isStrange = true;
    for (const socket of open) socket.destroy();
    await assert.rejects(async () => {
      // The first calls may fail because their connection was cut.
      for (;;) {
        try {
          await test.storage.createStreamStorage(id, genesis);
          assert.fail("Expected nothing to be written");
        } catch (error) {
          assert.ok(isStreamStorageError(error), String(error));
          if (error.code !== "UNAVAILABLE") throw error;
        }
      }
    }, (error) => isStreamStorageError(error, "BAD_CONFIG"));
    isStrange = false;
    while (!await isWritten(test.storage, id, genesis));
  });

  it("that ends a session is noticed from the first byte after the login", async () => {
    await using server = await scriptedServer((socket) => {
      const end = errorResponse("57P01", "the server goes");
      socket.once(
        "data",
        () => socket.write(Buffer.concat([authenticationOk, greeting, end])),
      );
    });
    const session = await connect(server.port, plain);
    assert.equal(session.processId, 4711);
    assert.deepEqual(session.secretKey, new Uint8Array([1, 2, 3, 4]));
    await session.closed;
    assert.equal(session.usable, false);
  });
});

describe("A server that answers the request for TLS", () => {
  const isQuestion = (bytes: Buffer) => bytes.length === 8;

  /** Calls `answer` at each request for TLS, and lets in clients without TLS. */
  function tlsServer(
    answer: (socket: Socket) => void,
  ): Promise<ScriptedServer> {
    return scriptedServer((socket) => {
      socket.once("data", (bytes: Buffer) => {
        if (isQuestion(bytes)) answer(socket);
        else socket.write(Buffer.concat([authenticationOk, greeting]));
      });
    });
  }

  it("with N gets no login under require, and one in clear under prefer", async () => {
    await using server = await tlsServer((socket) => socket.write("N"));
    const error = await failure(connect(server.port, "sslmode=require"));
    assert.equal(error.code, "BAD_CONFIG");
    assert.equal(error.details.reason, "tls_unavailable");
    const session = await connect(server.port);
    session.destroy("It got in");
  });

  it("gets no request on a Unix socket, whose path may contain colons", async () => {
    const parent = await mkdtemp(join(tmpdir(), "stream-storage-socket-"));
    try {
      const dir = join(parent, "p:r:i");
      await mkdir(dir);
      const first: number[] = [];
      await using _ = await scriptedServer((socket) => {
        socket.once("data", (bytes: Buffer) => {
          first.push(bytes.length);
          socket.write(Buffer.concat([authenticationOk, greeting]));
        });
      }, join(dir, ".s.PGSQL.5432"));
      for (const mode of ["prefer", "require", "verify-full"]) {
        const url = `postgresql://u@/d?host=${dir}&sslmode=${mode}`;
        const session = await connectSession(
          parseConnectionUrl(url),
          {},
          options,
        );
        session.destroy("It got in");
      }
      assert.ok(first.every((length) => length > 8), String(first));
    } finally {
      await rm(parent, { recursive: true });
    }
  });

  it("with a handshake that fails gets a login in clear, under prefer only", async () => {
    const broken: ((socket: Socket) => void)[] = [
      (socket) => {
        socket.write("S");
        socket.once("data", () => socket.end());
      },
      (socket) => {
        socket.write("S");
        socket.once("data", () => socket.end("this is no TLS at all\r\n"));
      },
    ];
    for (const answer of broken) {
      await using server = await tlsServer(answer);
      await failure(connect(server.port, "sslmode=require"));
      const session = await connect(server.port);
      session.destroy("It got in");
    }
  });

  it("with more than one byte is refused, since the rest was injected", async () => {
    for (const put of ["S" + "R\0\0\0\x08\0\0\0\0", "NN"]) {
      await using server = await tlsServer((socket) => socket.write(put));
      for (const mode of ["prefer", "require"]) {
        const error = await failure(connect(server.port, `sslmode=${mode}`));
        assert.equal(error.code, "BAD_CONFIG");
        assert.equal(error.details.reason, "tls_failed");
      }
    }
  });

  it("with an error, or with noise, is unavailable", async () => {
    for (const put of ["E", "H"]) {
      await using server = await tlsServer((socket) =>
        socket.write(message(put, "Mtake this\0").subarray(0, 1))
      );
      for (const mode of ["prefer", "require"]) {
        const error = await failure(connect(server.port, `sslmode=${mode}`));
        assert.equal(error.code, "UNAVAILABLE");
      }
    }
  });

  it("and never ends the handshake is awaited no longer than a login", async () => {
    await using server = await tlsServer((socket) => void socket.write("S"));
    const short = { connectTimeoutMs: 200 };
    for (const mode of ["prefer", "require"]) {
      const error = await failure(
        connect(server.port, `sslmode=${mode}`, short),
      );
      assert.equal(error.code, "UNAVAILABLE", error.message);
    }
  });
});
