// AWS's SDK for JavaScript against the server that the environment names: its own signer, its own encoder, its own parser.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import * as sdk from "@aws-sdk/client-s3vectors";

const client = new sdk.S3VectorsClient({ maxAttempts: 1 });
const fresh = () => `js-${randomBytes(6).toString("hex")}`;
const bucket = { vectorBucketName: fresh() };
const index = { ...bucket, indexName: "index" };
const vector = (key, float32, metadata) => ({ key, data: { float32 }, metadata });

/** Sends `new sdk[`${name}Command`](input)`. */
const call = (name, input) => client.send(new sdk[`${name}Command`](input));

/** The error that a call ends in. */
const refused = async (name, input) => {
  const error = await call(name, input).then(() => assert.fail(`${name} succeeded`), (caught) => caught);
  assert.ok(error instanceof sdk.S3VectorsServiceException, String(error));
  assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
  return error;
};

/** An index of its own for a test. */
const made = async (dimension = 2, more = {}) => {
  const names = { ...bucket, indexName: fresh() };
  await call("CreateIndex", { ...names, dataType: "float32", dimension, distanceMetric: "euclidean", ...more });
  return names;
};

/** All entries of all pages, and how many pages there were. The SDK writes into the input it is given: it gets a copy. */
const gather = async (operation, member, input, more = {}) => {
  const found = [];
  let count = 0;
  for await (const page of sdk[`paginate${operation}`]({ client, ...more }, { ...input })) {
    count += 1;
    found.push(...page[member]);
  }
  return [found, count];
};

test("three operations it does not know yet", () => {
  const lacking = ["PutVectorBucketDefaultIndexMode", "UpdateIndexMode", "UpdateMetadataConfiguration"];
  const commands = Object.keys(sdk).filter((name) => /^[A-Z].*Command$/.test(name));
  assert.deepEqual([commands.length, lacking.filter((name) => sdk[`${name}Command`])], [19, []]);
});

test("a bucket is created, shown and listed", async () => {
  const { vectorBucketArn } = await call("CreateVectorBucket", { ...bucket, tags: { made: "by js" } });
  const { vectorBucket } = await call("GetVectorBucket", { vectorBucketArn });
  assert.equal(vectorBucket.vectorBucketName, bucket.vectorBucketName);
  assert.ok(vectorBucket.creationTime instanceof Date);
  assert.ok(Math.abs(vectorBucket.creationTime - Date.now()) < 300_000);
  const [found] = await gather("ListVectorBuckets", "vectorBuckets", { prefix: bucket.vectorBucketName });
  assert.deepEqual(found.map((each) => each.vectorBucketArn), [vectorBucketArn]);
});

test("an index is created, shown and listed", async () => {
  const configuration = { nonFilterableMetadataKeys: ["text"] };
  const input = { dataType: "float32", dimension: 3, distanceMetric: "cosine", metadataConfiguration: configuration };
  const { indexArn } = await call("CreateIndex", { ...index, ...input });
  const shown = (await call("GetIndex", { indexArn })).index;
  assert.deepEqual([shown.dimension, shown.distanceMetric], [3, "cosine"]);
  assert.deepEqual(shown.metadataConfiguration.nonFilterableMetadataKeys, ["text"]);
  await made();
  const [found, pages] = await gather("ListIndexes", "indexes", bucket, { pageSize: 1 });
  assert.deepEqual([found.length, pages], [2, 2]);
});

test("vectors are put, got, queried and deleted", async () => {
  const names = await made();
  const metadata = { s: "\u00e9\u{1f3f9}", n: 1.5, i: 7, b: true, l: ["x", "y"] };
  await call("PutVectors", { ...names, vectors: [vector("a/\u00e9 b", [0.5, 1], metadata), vector("far", [9, 9])] });
  const got = await call("GetVectors", { ...names, keys: ["a/\u00e9 b"], returnData: true, returnMetadata: true });
  assert.deepEqual(got.vectors, [vector("a/\u00e9 b", [0.5, 1], metadata)]);
  const query = { ...names, topK: 5, queryVector: { float32: [0.5, 0] }, returnDistance: true };
  const answer = await call("QueryVectors", query);
  assert.deepEqual(answer.vectors.map((hit) => hit.key), ["a/\u00e9 b", "far"]);
  assert.deepEqual([answer.vectors[0].distance, answer.distanceMetric], [1, "euclidean"]);
  const filtered = await call("QueryVectors", { ...query, filter: { $and: [{ n: { $gt: 1 } }, { l: "y" }] } });
  assert.deepEqual(filtered.vectors.map((hit) => hit.key), ["a/\u00e9 b"]);
  await call("DeleteVectors", { ...names, keys: ["far", "unknown"] });
  assert.equal((await call("GetVectors", { ...names, keys: ["far"] })).vectors.length, 0);
});

test("vectors are listed and queried in pages", async () => {
  const names = await made();
  const vectors = Array.from({ length: 250 }, (_, n) => vector(`k${n}`, [n, 0]));
  await call("PutVectors", { ...names, vectors });
  const [all, pages] = await gather("ListVectors", "vectors", names, { pageSize: 60 });
  assert.deepEqual([new Set(all.map((each) => each.key)).size, pages], [250, 5]);
  const parts = await Promise.all([0, 1, 2].map((segmentIndex) =>
    gather("ListVectors", "vectors", { ...names, segmentCount: 3, segmentIndex })));
  assert.equal(new Set(parts.flatMap(([found]) => found.map((each) => each.key))).size, 250);
  const query = { ...names, topK: 220, queryVector: { float32: [0, 0] } };
  const [hits, queries] = await gather("QueryVectors", "vectors", query);
  assert.deepEqual([hits.map((hit) => hit.key), queries], [vectors.slice(0, 220).map((each) => each.key), 3]);
});

test("numbers that are not finite are refused in AWS's words", async () => {
  const names = await made();
  for (const bad of [NaN, Infinity, -Infinity, 1e39]) {
    const error = await refused("PutVectors", { ...names, vectors: [vector("K", [1, bad])] });
    assert.equal(error.message, "Invalid record for key 'K': vector contains NaNs or Infs");
  }
});

test("errors are of the SDK's classes, with the fields at fault", async () => {
  const missing = await refused("GetIndex", { ...bucket, indexName: "unknown" });
  assert.ok(missing instanceof sdk.NotFoundException);
  assert.equal(missing.$metadata.httpStatusCode, 404);
  const exists = await refused("CreateVectorBucket", bucket);
  assert.ok(exists instanceof sdk.ConflictException);
  const invalid = await refused("CreateVectorBucket", { vectorBucketName: "ab" });
  assert.ok(invalid instanceof sdk.ValidationException);
  assert.deepEqual(invalid.fieldList.map((field) => field.path), ["/vectorBucketName"]);
});

test("a filter of two keys is refused", async () => {
  const query = { ...(await made()), topK: 1, queryVector: { float32: [1, 2] }, filter: { a: 1, b: 2 } };
  assert.equal((await refused("QueryVectors", query)).message, "Invalid filter");
});

test("tags with any characters, on buckets and indexes", async () => {
  const { vectorBucketArn } = (await call("GetVectorBucket", bucket)).vectorBucket;
  const { indexArn } = (await call("GetIndex", await made())).index;
  for (const resourceArn of [vectorBucketArn, indexArn]) {
    await call("TagResource", { resourceArn, tags: { "a b": "1", "c+d/\u00e9": "", e: "=:@" } });
    await call("UntagResource", { resourceArn, tagKeys: ["a b", "c+d/\u00e9", "made"] });
    assert.deepEqual((await call("ListTagsForResource", { resourceArn })).tags, { e: "=:@" });
  }
});

test("a policy is stored and removed", async () => {
  const policy = JSON.stringify({ Version: "2012-10-17", Statement: [] });
  await call("PutVectorBucketPolicy", { ...bucket, policy });
  assert.deepEqual(JSON.parse((await call("GetVectorBucketPolicy", bucket)).policy), JSON.parse(policy));
  await call("DeleteVectorBucketPolicy", bucket);
  assert.ok((await refused("GetVectorBucketPolicy", bucket)) instanceof sdk.NotFoundException);
});

test("a wrong secret is refused", async () => {
  const credentials = { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: "wrong" };
  const stranger = new sdk.S3VectorsClient({ maxAttempts: 1, credentials });
  await assert.rejects(stranger.send(new sdk.ListVectorBucketsCommand({})), { name: "InvalidSignatureException" });
});

test("what was made is deleted", async () => {
  assert.ok((await refused("DeleteVectorBucket", bucket)) instanceof sdk.ConflictException);
  const [indexes] = await gather("ListIndexes", "indexes", bucket);
  await Promise.all(indexes.map(({ indexArn }) => call("DeleteIndex", { indexArn })));
  await call("DeleteVectorBucket", bucket);
  assert.ok((await refused("GetVectorBucket", bucket)) instanceof sdk.NotFoundException);
});
