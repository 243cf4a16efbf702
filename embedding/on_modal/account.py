"""What the account at Modal has already, by name: secrets and volumes. Needs modal and the standard library alone."""

import modal


def find_secret(name: str, keys: str, *, needed: bool) -> modal.Secret:
    """The secret of that name; without it an empty one, or the end where it is `needed`, which says what to create."""
    secret = modal.Secret.from_name(name)
    if modal.is_local():
        try:
            secret.hydrate()
        except modal.exception.NotFoundError:
            create = f"there is no Modal secret {name!r}. Create it: modal secret create {name} {keys}"
            if needed:
                raise SystemExit(f"error: {create}") from None
            print(f"{create}, if the model or a data set needs it.")
            return modal.Secret.from_dict({})
        except modal.exception.Error:
            pass  # no account or no network, of which modal says more itself
    return secret


def find_volume(name: str) -> modal.Volume:
    """The volume of that name as it is; where there is none, a new one of version 2, to which many may write."""
    volume = modal.Volume.from_name(name)
    if modal.is_local():
        try:
            volume.hydrate()
            modal.Volume.from_name(name, version=2).hydrate()
        except modal.exception.InvalidError:
            print(f"The volume {name!r} is of version 1, to which Modal advises few containers to write at once.")
        except modal.exception.Error:  # none of that name, or no account or network, of which modal says more itself
            return modal.Volume.from_name(name, create_if_missing=True, version=2)
    return volume
