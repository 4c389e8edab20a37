/** The frame of the page: who this is, how it is, where one is, and how to get elsewhere. */
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { duration, plural } from '../model/format.ts';
import { nodesOf } from '../model/nodes.ts';
import { formatRoute, parseRoute, type Route } from '../model/routes.ts';
import type { State } from '../model/state.ts';
import { DropsView } from './drops.tsx';
import { EventsView } from './events.tsx';
import { LeasesView } from './leases.tsx';
import { MapView } from './map.tsx';
import { NodePage } from './node-page.tsx';
import { PeerPage } from './peer-page.tsx';
import { PodPage } from './pod-page.tsx';
import { SearchBox } from './search-box.tsx';
import { applyTheme, storedTheme, type Theme } from './theme.ts';
import { TokenForm } from './token-form.tsx';
import { TrafficView } from './traffic.tsx';
import { useAgent } from './use-agent.ts';

const TABS = [
  ['map', 'Map'],
  ['traffic', 'Traffic'],
  ['drops', 'Drops'],
  ['leases', 'Leases'],
  ['events', 'Events'],
] as const;

export function App() {
  const { state, setToken } = useAgent();
  const route = useRoute();
  const nodes = useMemo(() => nodesOf(state), [state.status, state.peers, state.inventory, state.rates]);
  const main = useRef<HTMLElement>(null);
  const { connection, status, names } = state;
  useTitle(route, state);
  useFocusOnChange(main, formatRoute(route));

  if (connection.is === 'refused') {
    return (
      <Frame state={state} nodes={[]} route={route}>
        <main id="main" class="narrow" tabIndex={-1} ref={main}>
          <h1>A token is needed</h1>
          <p>{connection.why}.</p>
          <TokenForm onToken={setToken} />
        </main>
      </Frame>
    );
  }
  return (
    <Frame state={state} nodes={nodes} route={route}>
      {names === false && status !== undefined && (
        <section class="notice" aria-label="Hidden names">
          <details>
            <summary>Names are hidden: other users of that host could look here as well.</summary>
            <p>
              On the node, <code>warren ui</code> gives a link that shows them. Or enter the token of{' '}
              <code>api.tokenFile</code>.
            </p>
            <TokenForm onToken={setToken} />
          </details>
        </section>
      )}
      <main id="main" tabIndex={-1} ref={main} class={`view-${route.view}`}>
        {status === undefined ? (
          <p class="quiet">
            {connection.is === 'lost' ? 'The agent does not answer; trying again.' : 'Asking the agent …'}
          </p>
        ) : (
          <Body route={route} state={state} nodes={nodes} />
        )}
      </main>
    </Frame>
  );
}

function Body({ route, state, nodes }: { route: Route; state: State; nodes: ReturnType<typeof nodesOf> }) {
  switch (route.view) {
    case 'map':
      return <MapView state={state} nodes={nodes} />;
    case 'traffic':
      return <TrafficView state={state} />;
    case 'drops':
      return <DropsView state={state} />;
    case 'leases':
      return <LeasesView state={state} />;
    case 'events':
      return <EventsView state={state} />;
    case 'node':
      return <NodePage state={state} node={nodes.find(({ key }) => key === route.key)} />;
    case 'peer':
      return <PeerPage state={state} node={nodes.find(({ key }) => key === route.key)} />;
    case 'pod':
      return <PodPage nodes={nodes} nodeName={route.node} name={route.name} />;
  }
}

interface FrameProps {
  readonly state: State;
  readonly nodes: ReturnType<typeof nodesOf>;
  readonly route: Route;
  readonly children: ComponentChildren;
}

function Frame({ state, nodes, route, children }: FrameProps) {
  const { status } = state;
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: it goes somewhere, by hand, since # is for views. */}
      <a class="skip" href="#main" onClick={skipToMain}>
        Skip to the content
      </a>
      <header class="top">
        <div class="brand">
          <a href="#/map" aria-label="warren, to the map">
            <svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true">
              <path d="M8 8 3 3.5M8 8l5-4.5M8 8v6" class="brand-line" />
              <circle cx="8" cy="8" r="2.6" />
              <circle cx="3" cy="3.5" r="1.8" />
              <circle cx="13" cy="3.5" r="1.8" />
              <circle cx="8" cy="13.8" r="1.8" />
            </svg>
            <strong>warren</strong>
          </a>
          {status && (
            <span class="where">
              {status.cluster.name} <span class="quiet">seen from</span> {status.node.name}
            </span>
          )}
        </div>
        <SearchBox nodes={nodes} />
        <div class="side">
          <Link state={state} />
          <ThemeButton />
        </div>
        <nav aria-label="Views">
          {TABS.map(([view, title]) => (
            <a key={view} href={`#/${view}`} aria-current={route.view === view ? 'page' : undefined}>
              {title}
            </a>
          ))}
        </nav>
      </header>
      {status && status.cluster.problems.length > 0 && <Problems problems={status.cluster.problems} />}
      {children}
    </>
  );
}

function Problems({ problems }: { problems: readonly string[] }) {
  return (
    <section class="notice bad" aria-label="Problems">
      <details open={problems.length <= 2}>
        <summary>{plural(problems.length, 'problem')}</summary>
        <ul>
          {[...new Set(problems)].map((problem) => (
            <li key={problem}>{problem}</li>
          ))}
        </ul>
      </details>
    </section>
  );
}

/** Whether what is shown is of now. */
function Link({ state: { connection } }: { state: State }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (connection.is !== 'lost') return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [connection.is]);
  const text =
    connection.is === 'live'
      ? 'live'
      : connection.is === 'lost'
        ? `not connected for ${duration(Math.max(0, (now - connection.sinceMs) / 1000))}`
        : connection.is === 'refused'
          ? 'refused'
          : 'connecting';
  return (
    <output class={`link ${connection.is}`} aria-live="polite">
      {connection.is === 'lost' ? (
        <>
          <span class="for-readers">not connected, trying again</span>
          <span aria-hidden="true">{text}</span>
        </>
      ) : (
        text
      )}
    </output>
  );
}

const NEXT: Readonly<Record<Theme, Theme>> = { auto: 'dark', dark: 'light', light: 'auto' };

function ThemeButton() {
  const [theme, setTheme] = useState(storedTheme);
  return (
    <button
      type="button"
      class="plain theme"
      title="Change colours"
      onClick={() => {
        applyTheme(NEXT[theme]);
        setTheme(NEXT[theme]);
      }}
    >
      <span class="for-readers">Colours: </span>
      <span aria-hidden="true">◐ </span>
      {theme}
    </button>
  );
}

function skipToMain(event: Event): void {
  event.preventDefault();
  document.querySelector('main')?.focus();
}

function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const onChange = () => setRoute(parseRoute(location.hash));
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return route;
}

/** A reader hears where it is now; the first view is where it begins anyway. */
function useFocusOnChange(main: { readonly current: HTMLElement | null }, place: string): void {
  const before = useRef(place);
  useEffect(() => {
    if (before.current === place) return;
    before.current = place;
    main.current?.focus();
    scrollTo(0, 0);
  }, [place]);
}

function useTitle(route: Route, { status, connection }: State): void {
  useEffect(() => {
    const name = TABS.find(([view]) => view === route.view)?.[1] ?? route.view;
    const where = status ? ` · ${status.node.name}` : '';
    document.title = `${connection.is === 'lost' ? '(not connected) ' : ''}${name}${where} · warren`;
  }, [route, status?.node.name, connection.is]);
}
