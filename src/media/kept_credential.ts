/**
 * What proves who we are to an object store, where it lasts for a while only:
 * asked for when it is needed, one question at a time, and kept until shortly
 * before its end.
 */

import type { ReplyFault } from "./reply_fault.ts";

/** What was given, and how long it may be used by our clock. */
export interface Credential<T> {
  value: T;
  until: number;
}

/** A credential is given up this long before its end. */
const spareMs = 120_000;

/** None is kept for longer, whatever its end is said to be. */
const maxLifeMs = 12 * 3_600_000;

/** The time until which a credential with this end is kept. */
export function keptUntil(end: number, now: number): number {
  return Math.max(Math.min(end, now + maxLifeMs) - spareMs, now + 1000);
}

/** See the file's head. */
export class KeptCredential<T> {
  readonly #ask: () => Promise<Credential<T>>;
  #asked: Promise<Credential<T>> | undefined;

  constructor(ask: () => Promise<Credential<T>>) {
    this.#ask = ask;
  }

  /** One that is good for a while. */
  async get(): Promise<T> {
    const kept = this.#asked;
    if (kept !== undefined) {
      const { value, until } = await this.#held(kept);
      if (Date.now() < until) return value;
      if (this.#asked === kept) this.#asked = undefined;
    }
    // However short it lasts, it is good for the request that waits for it.
    return (await this.#held(this.#asked ??= this.#ask())).value;
  }

  /** The store refuses the present one. */
  forget(): void {
    this.#asked = undefined;
  }

  /** The next caller asks again for one that was not given. */
  async #held(asked: Promise<Credential<T>>): Promise<Credential<T>> {
    try {
      return await asked;
    } catch (error) {
      if (this.#asked === asked) this.#asked = undefined;
      throw error;
    }
  }
}

/** What S3 says of keys that have ended, or were taken back. */
const staleCodes: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "InvalidAccessKeyId",
  "InvalidToken",
]);

/** Whether a new proof may be taken where this one was refused. */
export function isProofRefused(
  method: string,
  { init }: ReplyFault,
): boolean {
  const { status, reason, providerCode } = init;
  if (providerCode !== undefined && staleCodes.has(providerCode)) return true;
  // The answer to HEAD has no body, so no word of S3's.
  const isMute = method === "HEAD" && (status === 400 || status === 403);
  return isMute || (status === 401 && reason === "access_denied");
}
