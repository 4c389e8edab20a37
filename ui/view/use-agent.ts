/** The connection to the agent as a hook, and the token that it goes by. */
import { useCallback, useEffect, useReducer, useState } from 'preact/hooks';
import { connect } from '../model/connection.ts';
import { tokenOf } from '../model/routes.ts';
import { EMPTY, reduce, type State } from '../model/state.ts';

const KEY = 'warren-token';

/** As long as this tab is open. */
function keepToken(token: string | undefined): void {
  try {
    if (token === undefined) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // It lasts until the page is loaded again.
  }
}

function firstToken(): string | undefined {
  const given = tokenOf(location.hash);
  if (given !== undefined) {
    keepToken(given);
    // Out of the address bar, and out of the history.
    history.replaceState(null, '', '#/map');
    return given;
  }
  try {
    return sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}

export function useAgent(): { readonly state: State; readonly setToken: (token: string) => void } {
  const [state, dispatch] = useReducer(reduce, EMPTY);
  const [token, setToken] = useState(firstToken);
  useEffect(() => {
    const ending = new AbortController();
    let current = token;
    void connect({
      dispatch,
      token: () => current,
      dropToken: () => {
        current = undefined;
        keepToken(undefined);
      },
      signal: ending.signal,
    });
    return () => ending.abort();
  }, [token]);
  useEffect(() => {
    const onHash = () => {
      const given = tokenOf(location.hash);
      if (given === undefined) return;
      keepToken(given);
      history.replaceState(null, '', '#/map');
      setToken(given);
    };
    addEventListener('hashchange', onHash);
    return () => removeEventListener('hashchange', onHash);
  }, []);
  return {
    state,
    setToken: useCallback((given: string) => {
      keepToken(given);
      setToken(given);
    }, []),
  };
}
