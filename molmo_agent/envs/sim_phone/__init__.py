"""A simulated phone: an env without hardware, a test bed for the adb adapter, a source of annotated screens."""
