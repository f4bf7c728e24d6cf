"""Tests of the components: each is made with Pulumi's mocks, and its properties are judged."""
