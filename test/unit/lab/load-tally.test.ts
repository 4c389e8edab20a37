/** What traffic felt of a change: gaps, also those that last, and what ended. */
import { describe, expect, it } from 'vitest';
import { LoadTally } from '../../../src/lab/kubernetes/load-tally.ts';
import { judgeTraffic, MAX_GAP_MS } from '../../../src/lab/kubernetes/traffic.ts';

describe('a tally', () => {
  it('has the longest gap of a stream and of answers, each by itself', () => {
    const tally = new LoadTally(0);
    for (const nowMs of [100, 200, 900, 1000]) tally.received(0, 10, nowMs);
    for (let nowMs = 50; nowMs <= 1000; nowMs += 50) tally.received(1, 10, nowMs);
    tally.answered(100, 130);
    tally.answered(300, 380);
    tally.answered(960, 1000);
    expect(tally.report('b', 1000)).toEqual({
      name: 'b',
      bytes: 240,
      answers: 3,
      streamsEnded: 0,
      requestsFailed: 0,
      streamGapMs: 700,
      answerGapMs: 620,
      slowestMs: 80,
      errors: [],
    });
  });

  it('counts a gap that lasts, in each report until it ends', () => {
    const tally = new LoadTally(0);
    tally.received(0, 1, 100);
    tally.received(1, 1, 5000);
    tally.answered(90, 100);
    expect(tally.report('b', 5100)).toMatchObject({ streamGapMs: 5000, answerGapMs: 5000 });
    expect(tally.report('b', 6100)).toMatchObject({ streamGapMs: 6000, answerGapMs: 6000, bytes: 0 });
    tally.received(0, 1, 6200);
    tally.received(1, 1, 6200);
    tally.answered(6190, 6200);
    expect(tally.report('b', 6300)).toMatchObject({ streamGapMs: 6100, answerGapMs: 6100 });
    tally.received(0, 1, 6400);
    tally.received(1, 1, 6400);
    tally.answered(6390, 6400);
    expect(tally.report('b', 6400)).toMatchObject({ streamGapMs: 200, answerGapMs: 200 });
  });

  it('that never got anything has been silent since its start', () => {
    expect(new LoadTally(1000).report('b', 9000)).toMatchObject({ streamGapMs: 8000, answerGapMs: 8000 });
  });

  it('counts what ends and fails, and keeps the first few reasons', () => {
    const tally = new LoadTally(0);
    tally.streamEnded();
    for (let i = 0; i < 9; i++) tally.requestFailed(`no ${i}`);
    const report = tally.report('b', 0);
    expect(report).toMatchObject({ streamsEnded: 1, requestsFailed: 9 });
    expect(report.errors).toEqual(['no 0', 'no 1', 'no 2', 'no 3', 'no 4']);
    expect(tally.report('b', 0)).toMatchObject({ streamsEnded: 0, requestsFailed: 0, errors: [] });
  });
});

describe('the judgement', () => {
  const good = {
    from: 'a',
    name: 'b',
    bytes: 1,
    answers: 1,
    streamsEnded: 0,
    requestsFailed: 0,
    streamGapMs: MAX_GAP_MS,
    answerGapMs: 10,
    slowestMs: 10,
    errors: [],
  };
  it.each([
    [good, []],
    [{ ...good, streamGapMs: MAX_GAP_MS + 1 }, [`a to b: nothing arrived for ${MAX_GAP_MS + 1} ms`]],
    [{ ...good, answerGapMs: 4000 }, ['a to b: nothing arrived for 4000 ms']],
    [
      { ...good, streamsEnded: 1, errors: ['stream: read ECONNRESET'] },
      ['a to b: 1 streams ended, stream: read ECONNRESET'],
    ],
    [{ ...good, requestsFailed: 2 }, ['a to b: 2 requests failed']],
  ])('%j: %j', (report, expected) => {
    expect(judgeTraffic([report])).toEqual(expected);
  });

  it('lets requests fail while agents are away, as long as they may be, and no stream end', () => {
    const away = { ...good, requestsFailed: 9, streamGapMs: 20_000 };
    expect(judgeTraffic([away], 20_000)).toEqual([]);
    expect(judgeTraffic([away], 19_000)).toEqual(['a to b: nothing arrived for 20000 ms']);
    expect(judgeTraffic([{ ...away, streamsEnded: 1 }], 20_000)).toEqual(['a to b: 1 streams ended']);
  });
});
