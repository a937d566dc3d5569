/** Replies in the words of real object stores, to serve as they are or damaged. */
import type { RawReply, RawRequest } from "./raw_http.ts";

const ids = ["a", "b", "c"].map((part) => `ff${part.repeat(62)}`);

/** The names on the pages, in order. */
export const listedNames: readonly string[] = ids.map((id) => `s/${id}`);

const document = (body: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n${body}`;

/** A page of S3's listing; with a `token` another page follows. */
export function s3Page(
  names: readonly string[] = listedNames,
  token?: string,
): string {
  return document(
    `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
      `<Name>media</Name><Prefix>s/</Prefix><KeyCount>${names.length}` +
      `</KeyCount><MaxKeys>1000</MaxKeys>` +
      (token === undefined
        ? "<IsTruncated>false</IsTruncated>"
        : `<NextContinuationToken>${token}</NextContinuationToken>` +
          "<IsTruncated>true</IsTruncated>") +
      names.map((name) =>
        `<Contents><Key>${name}</Key>` +
        "<LastModified>2030-01-02T03:04:05.000Z</LastModified>" +
        "<ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;</ETag>" +
        "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>3001</Size>" +
        "<Owner><ID>75aa57f0</ID><DisplayName>me</DisplayName></Owner>" +
        "<StorageClass>STANDARD</StorageClass></Contents>"
      ).join("") + "</ListBucketResult>",
  );
}

/** A page of Google's listing. */
export function gcsPage(
  names: readonly string[] = listedNames,
  token?: string,
): string {
  return `<?xml version='1.0' encoding='UTF-8'?>` +
    `<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>` +
    `<Name>media</Name><Prefix>s/</Prefix><KeyCount>${names.length}</KeyCount>` +
    `<IsTruncated>${token !== undefined}</IsTruncated>` +
    (token === undefined
      ? ""
      : `<NextContinuationToken>${token}</NextContinuationToken>`) +
    names.map((name) =>
      `<Contents><Key>${name}</Key><Generation>1700000000000001</Generation>` +
      "<MetaGeneration>1</MetaGeneration>" +
      "<LastModified>2030-01-02T03:04:05.678Z</LastModified>" +
      `<ETag>"5d41402abc4b2a76b9719d911017c592"</ETag><Size>3001</Size>` +
      "</Contents>"
    ).join("") + "</ListBucketResult>";
}

/** An error in the form of both. */
export function errorDocument(code: string): string {
  return document(
    `<Error><Code>${code}</Code><Message>It &amp; its like: no.</Message>` +
      "<Key>s/a</Key><RequestId>4442587FB7D0A2F9</RequestId></Error>",
  );
}

/** A refusal of the bucket itself. */
export const denied: RawReply = {
  status: 403,
  body: "<Error><Code>AccessDenied</Code></Error>",
};

/** The reply to the start of an upload in parts. */
export const begun: string = document(
  `<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` +
    "<Bucket>media</Bucket><Key>s/a</Key>" +
    "<UploadId>VXBsb2FkIElE-5d4140_2abc.4b2a76b</UploadId>" +
    "</InitiateMultipartUploadResult>",
);

/** The reply to its end. S3 sends blanks while it works. */
export const finished: string = document(
  "   \n  <CompleteMultipartUploadResult>" +
    "<Location>http://media/s/a</Location><Bucket>media</Bucket>" +
    "<Key>s/a</Key><ETag>&quot;3858f62230ac3c915f300c664312c11f-2&quot;</ETag>" +
    "</CompleteMultipartUploadResult>",
);

const facts = {
  date: "Wed, 02 Jan 2030 03:04:05 GMT",
  etag: '"5d41402abc4b2a76b9719d911017c592"',
  "last-modified": "Wed, 02 Jan 2030 03:04:05 GMT",
  "x-amz-request-id": "4442587FB7D0A2F9",
  "x-goog-generation": "1700000000000001",
};

/** The token of a service account. */
export const token: string = JSON.stringify({
  access_token: "ya29.c.b0AXv0zTPQ",
  expires_in: 3599,
  token_type: "Bearer",
});

/** The store's successful reply to a request. */
export function wellAnswered(
  provider: "s3" | "gcs",
  { method, url, headers }: Pick<RawRequest, "method" | "url" | "headers">,
): RawReply {
  const { searchParams, pathname } = url;
  if (pathname === "/token") return { status: 200, body: token };
  if (searchParams.has("list-type")) {
    const page = provider === "s3" ? s3Page : gcsPage;
    return searchParams.has("continuation-token")
      ? { status: 200, body: page(listedNames.slice(2)) }
      : { status: 200, body: page(listedNames.slice(0, 2), "1ueGcxLPRx1Tr") };
  }
  if (searchParams.has("uploads")) return { status: 200, body: begun };
  if (method === "POST") return { status: 200, body: finished };
  if (method === "PUT") return { status: 200, headers: facts };
  if (method === "DELETE") return { status: 204, contentLength: null };
  if (method === "HEAD") {
    return { status: 200, headers: facts, contentLength: 3001 };
  }
  const [, last] = (headers.get("range") ?? "bytes=0-99").split("-");
  return {
    status: 206,
    headers: { ...facts, "content-range": `bytes 0-${last}/3001` },
    body: new Uint8Array(Number(last) + 1).fill(7),
  };
}
