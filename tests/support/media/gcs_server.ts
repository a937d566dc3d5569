/**
 * A strict double of Google Cloud Storage in memory, as far as the store uses it:
 * service accounts whose assertions must be signed by their key, access tokens,
 * and the XML API with checksums, generations, preconditions, and multipart
 * uploads, which take no preconditions.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { ServiceAccount } from "../../../src/media/access_tokens.ts";
import type { GcsOptions } from "../../../src/media/gcs.ts";
import {
  type HeldRequest,
  HeldRequests,
  type Holding,
} from "./held_requests.ts";
import {
  type NoReply,
  type RawReply,
  type RawRequest,
  type RawServer,
  startRawServer,
} from "./raw_http.ts";

/** The server, and the credentials for it. */
export interface GcsServer extends AsyncDisposable {
  options: GcsOptions & { credentials: ServiceAccount };
  /** A service account in Google's format. */
  credentials: Record<string, string>;
  readonly objects: Map<string, Uint8Array>;
  /** Uploads that were begun, and neither finished nor aborted. */
  readonly uploads: Map<string, unknown>;
  /** The number of tokens that were issued. */
  tokensGiven: number;
  /** Holds back requests that fit; resolves with the first one. */
  hold(holding: Holding): Promise<HeldRequest>;
  /** The requests so far, such as `PUT /media/a/b?partNumber=1`. */
  readonly requests: string[];
  /** Set by tests: may reply instead of the server. */
  interfere:
    | ((
      request: RawRequest,
      answer: () => Promise<RawReply>,
    ) => RawReply | Promise<RawReply | NoReply> | undefined)
    | undefined;
  /** Invalidates all tokens that were issued so far. */
  revoke(): void;
}

const scope = "https://www.googleapis.com/auth/devstorage.read_write";
const clientEmail = "media@project.iam.gserviceaccount.com";
const bucket = "media-tests";

interface Upload {
  name: string;
  parts: Map<number, { bytes: Uint8Array; etag: string }>;
}

/** Starts the server. All parts except the last need `minPartBytes`. */
export async function startGcsServer(
  { minPartBytes = 1024, pageSize = 2 } = {},
): Promise<GcsServer> {
  const { publicKey, pem } = await makeKeys();
  const tokens = new Set<string>();
  const objects = new Map<string, Uint8Array>();
  const uploads = new Map<string, Upload>();
  const requests: string[] = [];
  const server: RawServer = await startRawServer(async (request) => {
    requests.push(`${request.method} ${request.target}`);
    const answer = () => execute(request);
    return await (held.intercept(request) ??
      state.interfere?.(request, answer) ?? answer());
  });
  const giveToken = async (request: RawRequest) => {
    if (!await isAsserted(request, publicKey, `${server.url}/token`)) {
      return json(401, { error: "invalid_grant" });
    }
    const token = crypto.randomUUID();
    tokens.add(token);
    state.tokensGiven++;
    return json(200, { access_token: token, expires_in: 3599 });
  };
  const execute = async (request: RawRequest): Promise<RawReply> => {
    const { url, headers } = request;
    if (url.pathname === "/token") return await giveToken(request);
    const [, token = ""] = /^Bearer (.+)$/.exec(
      headers.get("authorization") ?? "",
    ) ?? [];
    if (!tokens.has(token)) return fault(401, "AuthenticationRequired");
    return replyTo(request, { objects, uploads, minPartBytes, pageSize });
  };
  const held = new HeldRequests(execute);
  const state: GcsServer = {
    ...accessTo(server.url, pem),
    objects,
    uploads,
    tokensGiven: 0,
    hold: (holding) => held.hold(holding),
    requests,
    interfere: undefined,
    revoke: () => tokens.clear(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  return state;
}

/** The reply to a request that has a valid token. */
function replyTo(
  request: RawRequest,
  { objects, uploads, minPartBytes, pageSize }: {
    objects: Map<string, Uint8Array>;
    uploads: Map<string, Upload>;
    minPartBytes: number;
    pageSize: number;
  },
): RawReply {
  const { url, headers, method } = request;
  const md5 = headers.get("content-md5");
  if (method === "PUT" && md5 !== md5Of(request.body, "base64")) {
    return fault(400, "BadDigest");
  }
  const name = decodeURIComponent(url.pathname).slice(1);
  const [first, ...rest] = name.split("/");
  if (first !== bucket) return fault(404, "NoSuchBucket");
  const key = rest.join("/");
  if (url.searchParams.has("uploads") || url.searchParams.has("uploadId")) {
    return multipart(request, key, { objects, uploads, minPartBytes });
  }
  return key === ""
    ? list(url, objects, pageSize)
    : single(request, key, objects);
}

async function makeKeys(): Promise<{ publicKey: CryptoKey; pem: string }> {
  const { publicKey, privateKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  );
  const der = new Uint8Array(
    await crypto.subtle.exportKey("pkcs8", privateKey),
  );
  const base64 = btoa(String.fromCharCode(...der));
  const pem = `-----BEGIN PRIVATE KEY-----\n${
    base64.replace(/.{64}/g, "$&\n")
  }\n-----END PRIVATE KEY-----\n`;
  return { publicKey, pem };
}

/** The options of a store, and the same as a file of credentials. */
function accessTo(
  endpoint: string,
  pem: string,
): Pick<GcsServer, "options" | "credentials"> {
  const tokenUri = `${endpoint}/token`;
  return {
    options: {
      bucket,
      endpoint,
      credentials: { clientEmail, privateKey: pem, tokenUri },
    },
    credentials: {
      type: "service_account",
      client_email: clientEmail,
      private_key: pem,
      private_key_id: "key-1",
      token_uri: tokenUri,
    },
  };
}

async function isAsserted(
  { body, method }: RawRequest,
  key: CryptoKey,
  audience: string,
): Promise<boolean> {
  const form = new URLSearchParams(new TextDecoder().decode(body));
  const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
  if (method !== "POST" || form.get("grant_type") !== grant) return false;
  const parts = (form.get("assertion") ?? "").split(".");
  const [head, claims, signature] = parts.map((part) =>
    Uint8Array.from(
      atob(part.replaceAll("-", "+").replaceAll("_", "/")),
      (c) => c.charCodeAt(0),
    )
  );
  const signed = new TextEncoder().encode(parts.slice(0, 2).join("."));
  const verified = await crypto.subtle.verify(
    "RSASSA-PKCS1-v1_5",
    key,
    signature!,
    signed,
  );
  const { alg } = JSON.parse(new TextDecoder().decode(head));
  const said = JSON.parse(new TextDecoder().decode(claims));
  const now = Date.now() / 1000;
  return verified && alg === "RS256" && said.iss === clientEmail &&
    said.scope === scope && said.aud === audience && said.iat <= now + 1 &&
    said.exp > now && said.exp <= said.iat + 3600;
}

function single(
  { method, headers, body }: RawRequest,
  key: string,
  objects: Map<string, Uint8Array>,
): RawReply {
  const stored = objects.get(key);
  const expected = headers.get("x-goog-if-generation-match");
  if (expected !== null) {
    if (stored === undefined && expected !== "0") {
      return fault(404, "NoSuchKey");
    }
    const generation = stored === undefined ? 0 : generationOf(stored);
    if (expected !== String(generation)) {
      return fault(412, "PreconditionFailed");
    }
  }
  if (method === "PUT") {
    objects.set(key, body);
    return { status: 200, headers: factsOf(body) };
  }
  if (stored === undefined) return fault(404, "NoSuchKey");
  if (method === "DELETE") {
    objects.delete(key);
    return { status: 204, contentLength: null };
  }
  const facts = factsOf(stored);
  if (method === "HEAD") return { status: 200, headers: facts, body: stored };
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get("range") ?? "");
  if (range === null) return { status: 200, headers: facts, body: stored };
  const [from, to] = [Number(range[1]), Number(range[2])];
  if (from >= stored.length) return fault(416, "InvalidRange");
  const last = Math.min(to, stored.length - 1);
  return {
    status: 206,
    headers: {
      ...facts,
      "content-range": `bytes ${from}-${last}/${stored.length}`,
    },
    body: stored.slice(from, last + 1),
  };
}

function multipart(
  { method, url, headers, body }: RawRequest,
  key: string,
  { objects, uploads, minPartBytes }: {
    objects: Map<string, Uint8Array>;
    uploads: Map<string, Upload>;
    minPartBytes: number;
  },
): RawReply {
  if (headers.has("x-goog-if-generation-match")) {
    return fault(400, "InvalidArgument");
  }
  if (method === "POST" && url.searchParams.has("uploads")) {
    const id = crypto.randomUUID();
    uploads.set(id, { name: key, parts: new Map() });
    return xml(
      `<InitiateMultipartUploadResult><UploadId>${id}</UploadId>` +
        "</InitiateMultipartUploadResult>",
    );
  }
  const id = url.searchParams.get("uploadId") ?? "";
  const upload = uploads.get(id);
  if (upload?.name !== key) return fault(404, "NoSuchUpload");
  if (method === "DELETE") {
    uploads.delete(id);
    return { status: 204, contentLength: null };
  }
  if (method === "PUT") {
    const number = Number(url.searchParams.get("partNumber"));
    const etag = `"${md5Of(body, "hex")}"`;
    upload.parts.set(number, { bytes: body, etag });
    return { status: 200, headers: { etag } };
  }
  const parts = partsIn(body, upload);
  if (parts.length === 0 || parts.includes(undefined)) {
    return fault(400, "InvalidPart");
  }
  if (parts.slice(0, -1).some((part) => part!.bytes.length < minPartBytes)) {
    return fault(400, "EntityTooSmall");
  }
  const whole = new Uint8Array(Buffer.concat(parts.map((part) => part!.bytes)));
  objects.set(key, whole);
  uploads.delete(id);
  return xml(
    `<CompleteMultipartUploadResult><Key>${key}</Key>` +
      `<ETag>${factsOf(whole)["etag"]}</ETag></CompleteMultipartUploadResult>`,
  );
}

/** The parts that a list names; undefined for one that is not there. */
function partsIn(body: Uint8Array, { parts }: Upload) {
  const named = new TextDecoder().decode(body).matchAll(
    /<Part><PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag><\/Part>/g,
  );
  return Array.from(named, ([, number, etag]) => {
    const part = parts.get(Number(number));
    return part?.etag === etag!.replaceAll("&#34;", '"') ? part : undefined;
  });
}

function list(
  url: URL,
  objects: Map<string, Uint8Array>,
  pageSize: number,
): RawReply {
  if (url.searchParams.get("list-type") !== "2") {
    return fault(400, "InvalidArgument");
  }
  const prefix = url.searchParams.get("prefix") ?? "";
  const after = url.searchParams.get("continuation-token") ?? "";
  const names = [...objects.keys()].filter((name) =>
    name.startsWith(prefix) && name > after
  ).sort();
  const page = names.slice(0, pageSize);
  const truncated = names.length > page.length;
  const contents = page.map((name) => {
    const facts = factsOf(objects.get(name)!);
    const escaped = name.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    return `<Contents><Key>${escaped}</Key><LastModified>${
      new Date(facts["last-modified"]!).toISOString()
    }</LastModified><ETag>${facts["etag"]}</ETag><Size>${
      objects.get(name)!.length
    }</Size></Contents>`;
  });
  return xml(
    `<ListBucketResult xmlns="x"><IsTruncated>${truncated}</IsTruncated>${
      truncated
        ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>`
        : ""
    }${contents.join("")}</ListBucketResult>`,
  );
}

function factsOf(bytes: Uint8Array): Record<string, string> {
  return {
    etag: `"${md5Of(bytes, "hex")}"`,
    "last-modified": new Date().toUTCString(),
    "x-goog-generation": String(generationOf(bytes)),
  };
}

let lastGeneration = 1_000_000;
const generations = new WeakMap<Uint8Array, number>();

/** The object's generation, which no other object ever has. */
function generationOf(bytes: Uint8Array): number {
  let generation = generations.get(bytes);
  if (generation === undefined) {
    generation = ++lastGeneration;
    generations.set(bytes, generation);
  }
  return generation;
}

function md5Of(bytes: Uint8Array, encoding: "hex" | "base64"): string {
  return createHash("md5").update(bytes).digest(encoding);
}

function fault(status: number, code: string): RawReply {
  return { ...xml(`<Error><Code>${code}</Code></Error>`), status };
}

function xml(body: string): RawReply {
  return {
    status: 200,
    headers: { "content-type": "application/xml" },
    body: `<?xml version='1.0' encoding='UTF-8'?>${body}`,
  };
}

function json(status: number, body: unknown): RawReply {
  return { status, body: JSON.stringify(body) };
}
