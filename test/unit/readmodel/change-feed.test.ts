import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type Change, ChangeFeed } from '../../../src/readmodel/change-feed.ts';

it('tells of all changes of a turn at once, with the version of the latest', async () => {
  const feed = new ChangeFeed();
  const heard: Change[] = [];
  feed.subscribe(['peers', 'routes'], (change) => heard.push(change));
  feed.touch(['peers']);
  feed.touch(['routes', 'peers']);
  expect(heard).toEqual([]);
  await nextTurn();
  expect(heard).toEqual([{ topics: ['peers', 'routes'], version: 2 }]);
  feed.touch(['peers']);
  await nextTurn();
  expect(heard[1]).toEqual({ topics: ['peers'], version: 3 });
});

it('has a version that grows with each change, told or not', () => {
  const feed = new ChangeFeed();
  const versions = [feed.version];
  feed.touch(['pods']);
  versions.push(feed.version);
  feed.touch(['pods']);
  versions.push(feed.version);
  expect(versions).toEqual([0, 1, 2]);
});

it('tells nobody of topics that they did not ask for, nor after they have ended it', async () => {
  const feed = new ChangeFeed();
  const heard: string[] = [];
  feed.subscribe(['pods'], () => heard.push('pods'));
  const end = feed.subscribe(['peers'], () => heard.push('peers'));
  feed.touch(['peers']);
  end();
  await nextTurn();
  expect(heard).toEqual([]);
});

it('lets a listener end the subscription of another, which then hears nothing', async () => {
  const feed = new ChangeFeed();
  const heard: string[] = [];
  const ends: (() => void)[] = [];
  feed.subscribe(['pods'], () => {
    heard.push('first');
    ends[0]!();
  });
  ends.push(feed.subscribe(['pods'], () => heard.push('second')));
  feed.touch(['pods']);
  await nextTurn();
  expect(heard).toEqual(['first']);
});

it('is silent once it is closed, also about what it had yet to tell', async () => {
  const feed = new ChangeFeed();
  const heard: Change[] = [];
  feed.subscribe(['pods'], (change) => heard.push(change));
  feed.touch(['pods']);
  feed.close();
  feed.touch(['pods']);
  await nextTurn();
  expect(heard).toEqual([]);
});
