"""The settings of subcommands that use Label Studio's API."""

from sam_backend.settings import Settings, SettingsError


def label_studio_settings() -> Settings:
    """Return the settings, which name Label Studio's URL and a token.

    Raises:
        SettingsError: the URL or the token is missing.
    """
    settings = Settings.from_env()
    for variable, value in (
        ("LABEL_STUDIO_URL", settings.label_studio_url),
        ("LABEL_STUDIO_API_KEY", settings.label_studio_api_key),
    ):
        if not value:
            raise SettingsError(
                f"{variable} is not set; set Label Studio's URL and a personal access token "
                "(in Label Studio: Account & Settings > Personal Access Token)"
            )
    return settings
