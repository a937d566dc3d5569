import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { Side, Verdict, WireMessage } from "./proxy.ts";

/** What a connection reports to its proxy. */
export interface ConnectionListener {
  number: number;
  verdict(message: Omit<WireMessage, "nth">): Verdict;
  /** A message came; `isAnswer` if it is the first after the other side's. */
  seen(side: Side, type: string, isAnswer: boolean): void;
  /** One side was closed. */
  closed(): void;
}

/** One client with its session on the server, and the messages between them. */
export class ProxiedConnection {
  readonly #listener: ConnectionListener;
  readonly #sockets: Record<Side, Socket>;
  readonly #queues: Record<Side, { type: string; bytes: Buffer }[]> = {
    frontend: [],
    backend: [],
  };
  readonly #timers: Partial<Record<Side, ReturnType<typeof setTimeout>>> = {};
  readonly #held = new Set<Side>();
  readonly #hungUp = new Set<Side>();
  #loggedIn = false;
  #clientSpoke = false;
  #muted = false;
  readonly #closed = new Set<Side>();
  #isCut = false;

  constructor(client: Socket, server: Socket, listener: ConnectionListener) {
    this.#listener = listener;
    this.#sockets = { frontend: client, backend: server };
    for (const side of ["frontend", "backend"] as const) {
      const split = messageSplitter(side);
      const socket = this.#sockets[side];
      socket.on("error", () => {}); // the socket's close is noticed, too
      socket.on("data", (chunk: Buffer) => {
        this.#queues[side].push(...split(chunk));
        this.#advance(side);
      });
      socket.on("end", () => this.#hangUp(side));
      socket.on("close", () => {
        this.#hangUp(side);
        this.#closed.add(side);
        this.#listener.closed();
      });
    }
  }

  /** Whether anything can pass at all. */
  get isOpen(): boolean {
    return !this.#isCut && this.#closed.size === 0;
  }

  /** Whether the client is gone and the server has not ended the session yet. */
  get isEnding(): boolean {
    const isLeft = this.#isCut ||
      (this.#closed.has("frontend") && !this.#muted);
    return isLeft && !this.#closed.has("backend");
  }

  /** Whether both sides are closed. */
  get isGone(): boolean {
    return this.#closed.size === 2;
  }

  /**
   * Closes both sides. The server gets the bytes that were written to it, and
   * sees the end when it reads next.
   */
  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    for (const side of ["frontend", "backend"] as const) {
      clearTimeout(this.#timers[side]);
      this.#queues[side].length = 0;
      this.#sockets[side].end();
    }
  }

  /** From now on nothing passes. */
  mute(): void {
    this.#muted = true;
  }

  destroy(): void {
    this.#isCut = true;
    for (const side of ["frontend", "backend"] as const) {
      clearTimeout(this.#timers[side]);
      this.#sockets[side].destroy();
    }
  }

  /** Ends a side after the messages that are held up for it. */
  #hangUp(side: Side): void {
    this.#hungUp.add(side);
    // Behind a dead router neither end notices that the other has closed.
    if (this.#muted || this.#held.has(side)) return;
    this.#sockets[other(side)].end();
  }

  #advance(side: Side): void {
    const queue = this.#queues[side];
    while (queue.length > 0 && !this.#held.has(side)) {
      const message = queue.shift()!;
      if (this.#isCut || this.#muted) continue;
      this.#pass(side, message);
    }
  }

  #pass(side: Side, { type, bytes }: { type: string; bytes: Buffer }): void {
    const isLogin = !this.#loggedIn;
    if (side === "backend" && type === "Z") this.#loggedIn = true;
    const target = this.#sockets[other(side)];
    if (isLogin) {
      target.write(bytes);
      return;
    }
    this.#listener.seen(side, type, side === "backend" && this.#clientSpoke);
    this.#clientSpoke = side === "frontend";
    const { number: connection } = this.#listener;
    const verdict = this.#listener.verdict({ side, type, bytes, connection });
    if (typeof verdict === "object") {
      this.#held.add(side);
      const release = () => {
        this.#held.delete(side);
        if (!this.#isCut && !this.#muted) target.write(bytes);
        this.#advance(side);
        if (this.#hungUp.has(side)) this.#hangUp(side);
      };
      if ("until" in verdict) void verdict.until.then(release);
      else this.#timers[side] = setTimeout(release, verdict.delayMs);
      return;
    }
    if (verdict === "cut-before") return this.cut();
    if (verdict !== "swallow") target.write(bytes);
    if (verdict === "cut-after") this.cut();
  }
}

function other(side: Side): Side {
  return side === "frontend" ? "backend" : "frontend";
}

/** A whole message, including its letter and its length. */
export interface WireMessageBytes {
  type: string;
  bytes: Buffer;
}

/** Splits a byte stream into whole messages. */
export function messageSplitter(
  side: Side,
): (chunk: Buffer) => WireMessageBytes[] {
  let chunks: Buffer[] = [];
  let gathered = 0;
  let wanted = 0;
  // The client's first message has no letter before its length.
  let isFirst = side === "frontend";
  return (chunk) => {
    chunks.push(chunk);
    gathered += chunk.length;
    const messages: WireMessageBytes[] = [];
    if (gathered < wanted) return messages;
    let rest = Buffer.concat(chunks);
    for (;;) {
      const letters = isFirst ? 0 : 1;
      wanted = letters + 4;
      if (rest.length < wanted) break;
      wanted = letters + rest.readInt32BE(letters);
      if (rest.length < wanted) break;
      const type = isFirst ? "" : String.fromCharCode(rest[0]!);
      messages.push({ type, bytes: rest.subarray(0, wanted) });
      rest = rest.subarray(wanted);
      isFirst = false;
    }
    chunks = [rest];
    gathered = rest.length;
    return messages;
  };
}
